//! What consumers say.

use meridian_commitlog::SeekTo;
use meridian_deliver::subscription::{Action, Event, Leaving};
use meridian_model::{Start, SubscriptionId};
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{Failure, SourceState, SubscribeRefused, SubscribeSource};
use tokio::sync::mpsc;

use super::Partition;
use crate::attached::{Arrival, Attach, Seat};
use crate::refused::of_refusal;
use crate::served::{Consumer, Served};
use crate::speech::{Meaning, understand};
use crate::work::{Asked, Done, For};

impl Partition {
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let seat = match &arrival {
            Arrival::Attach { seat, .. } | Arrival::Said { seat, .. } | Arrival::Left { seat, .. } => *seat,
        };
        if matches!(arrival, Arrival::Attach { .. }) && !self.served.contains_key(&seat.subscription) {
            self.begin_to_serve(seat.subscription);
        }
        let Some(served) = self.served.get_mut(&seat.subscription) else { return };
        let Some(arrival) = served.wait(arrival) else { return };
        match arrival {
            Arrival::Attach { attach, answers, .. } => self.attach(seat, *attach, answers),
            Arrival::Said { request, .. } if served.seated(seat).is_some() => {
                match understand(seat.consumer, *request) {
                    Meaning::Event(event) => self.event(seat.subscription, event),
                    Meaning::Seek { request, to } => self.find(seat, request, to),
                    Meaning::Wrong { request, failure } => self.refuse(seat, request, failure),
                }
            }
            Arrival::Said { .. } => {}
            Arrival::Left { leaving, .. } => self.left(seat, leaving),
        }
    }

    fn begin_to_serve(&mut self, id: SubscriptionId) {
        self.lives += 1;
        self.served.insert(id, Served::new(self.lives));
        // Consumers of a dispatcher on another node may hold messages; those of an earlier one here are known to
        // have gone.
        let before = self.room.cursors.standing(self.group, id);
        let awaits = !self.seen.contains(&id) && before.is_ok_and(|standing| standing.dispatch_epoch > 0);
        self.awaits.insert(id, awaits);
        self.seen.insert(id);
        self.begin(For { subscription: id, life: self.lives }, None, None);
    }

    fn attach(&mut self, seat: Seat, attach: Attach, answers: mpsc::Sender<Response>) {
        let Some(served) = self.served.get_mut(&seat.subscription) else { return };
        let Attach { join, source, batches, .. } = attach;
        // An earlier stream of the same consumer ends with its way.
        served.consumers.insert(seat.consumer, Consumer { seat, source, batches, answers });
        self.event(seat.subscription, Event::Joined(join));
        // What follows a join is about it: a refusal without a number means that it is not in.
        let refused = self.actions.iter().find_map(|(id, action)| match action {
            Action::Refuse { consumer, request: None, refusal }
                if *id == seat.subscription && *consumer == seat.consumer =>
            {
                Some(of_refusal(refusal))
            }
            _ => None,
        });
        let state = if refused.is_some() { SourceState::Ended } else { SourceState::Attached };
        let ended = refused.is_some();
        let told =
            SubscribeSource { source, state: state as i32, failure: refused, ..SubscribeSource::default() };
        self.send(seat, Response::Source(told));
        if ended && let Some(served) = self.served.get_mut(&seat.subscription) {
            served.consumers.remove(&seat.consumer);
        }
    }

    pub(super) fn left(&mut self, seat: Seat, leaving: Leaving) {
        let Some(served) = self.served.get_mut(&seat.subscription) else { return };
        if served.seated(seat).is_some() {
            served.consumers.remove(&seat.consumer);
            self.event(seat.subscription, Event::Left(seat.consumer, leaving));
        }
    }

    fn find(&mut self, seat: Seat, request: u64, to: Start) {
        let Some(served) = self.served.get(&seat.subscription) else { return };
        let of = For { subscription: seat.subscription, life: served.life };
        let (consumer, asked) = (seat.consumer, Asked { consumer: seat.consumer, request });
        let to = match to {
            Start::Earliest => SeekTo::Earliest,
            Start::Latest => SeekTo::Latest,
            Start::Offset(offset) => SeekTo::Offset(offset),
            Start::Time(time) => {
                let (log, group) = (self.room.log.clone(), self.group);
                return self
                    .work
                    .push(Box::pin(async move { Done::Found(of, asked, log.offset_at(group, time).await) }));
            }
        };
        self.event(seat.subscription, Event::Seek { consumer, request, to });
    }

    pub(super) fn refuse(&mut self, seat: Seat, request: Option<u64>, failure: Failure) {
        let refused = SubscribeRefused { request: request.unwrap_or_default(), failure: Some(failure) };
        self.send(seat, Response::Refused(refused));
    }

    /// Sends at once, before what is still to be told. A consumer that takes no answers is lost.
    pub(super) fn send(&mut self, seat: Seat, response: Response) {
        let Some(served) = self.served.get(&seat.subscription) else { return };
        let Some(consumer) = served.seated(seat) else { return };
        if consumer.answers.try_send(response).is_err() {
            self.left(seat, Leaving::Lost);
        }
    }
}
