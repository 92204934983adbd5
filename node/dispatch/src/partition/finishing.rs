//! What was waited for is done.

use std::time::Duration;

use meridian_commitlog::{CursorError, CursorRefusal, DelayedPage, ReadError, Standing, StoredBatch};
use meridian_deliver::subscription::{Action, BatchMeta, DispatchBounds, Dispatcher, Event, FetchId};
use meridian_model::{BatchError, Offset, SubscriptionId};
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{ErrorReason, Failure, SubscribeConfirmed};

use super::Partition;
use crate::served::{Served, State};
use crate::work::{AGAIN, Done, For};

impl Partition {
    pub(super) fn done(&mut self, (of, done): (For, Done)) {
        let id = of.subscription;
        if self.served.get(&id).is_none_or(|served| served.life != of.life) {
            return;
        }
        match done {
            Done::Begun(begun) => self.begun(of, begun),
            Done::Fetched(fetch, read) => self.fetched(id, fetch, read),
            Done::Due(fetch, page) => self.due(id, fetch, page),
            Done::Settled(token, Ok(settled)) => {
                let (stamp, outbox_room) = (settled.stamp, settled.outbox_room);
                self.event(id, Event::Committed { token, stamp, outbox_room });
            }
            Done::Settled(token, Err(error)) => self.event(id, Event::CommitFailed(token, error)),
            Done::Owned(token, Ok(epoch)) => self.event(id, Event::Owned(token, epoch)),
            Done::Owned(token, Err(error)) => self.event(id, Event::OwnFailed(token, error)),
            Done::Found { consumer, request, place } => match place {
                Ok(to) => {
                    let before = self.actions.len();
                    self.event(id, Event::Seek { consumer, request, to });
                    let seeks = |(_, action): &(SubscriptionId, Action)| matches!(action, Action::Seek(_));
                    if self.actions.iter().skip(before).any(seeks)
                        && let Some(served) = self.served.get_mut(&id)
                    {
                        served.seeks.push((consumer, request));
                    }
                }
                Err(error) => {
                    let seat = self.served.get(&id).and_then(|served| served.consumers.get(&consumer));
                    if let Some(seat) = seat.map(|consumer| consumer.seat) {
                        let failure = Failure::new(ErrorReason::Unavailable, error.to_string());
                        self.refuse(seat, Some(request), failure);
                    }
                }
            },
            Done::Sought(_, Ok(standing)) => {
                self.event(id, Event::Sought(Box::new(standing)));
                self.confirm_seeks(id);
            }
            Done::Sought(_, Err(CursorError::NotLeader { .. })) => self.over = true,
            Done::Sought(_, Err(CursorError::Refused(refusal))) => {
                tracing::warn!(group = %self.group, subscription = %id, %refusal, "a seek was refused");
            }
            Done::Sought(to, Err(_)) => self.seek(id, to, Some(AGAIN)),
        }
    }

    fn begun(&mut self, of: For, begun: Result<Standing, CursorError>) {
        let id = of.subscription;
        match begun {
            Ok(standing) => self.go_on(id, standing),
            Err(CursorError::NotLeader { .. }) => self.over = true,
            // Consumers see that their part ends, and come again if there still is such a subscription.
            Err(CursorError::Refused(CursorRefusal::UnknownSubscription)) => drop(self.served.remove(&id)),
            Err(_) => self.begin(id, of.life, Some(AGAIN)),
        }
    }

    fn go_on(&mut self, id: SubscriptionId, mut standing: Standing) {
        let destination = self.room.letterbox.destination(self.group, id);
        standing.dead_letters_to = destination;
        self.look_at_tail();
        let (Ok(log), now) = (self.room.log.bounds(self.group), self.now()) else {
            self.over = true;
            return;
        };
        let Some(served) = self.served.get_mut(&id) else { return };
        match &mut served.state {
            State::Dispatching(_) => self.event(id, Event::Begun(Box::new(standing))),
            State::Beginning(waiting) => {
                let waiting = std::mem::take(waiting);
                served.destination = destination;
                let bounds = DispatchBounds::clone(&self.room.bounds);
                let dispatcher = Dispatcher::new(standing, log, bounds, now);
                served.state = State::Dispatching(Box::new(dispatcher));
                self.event(id, Event::Tick);
                waiting.into_iter().for_each(|arrival| self.arrived(arrival));
            }
        }
    }

    fn fetched(&mut self, id: SubscriptionId, fetch: FetchId, read: Result<Vec<StoredBatch>, ReadError>) {
        match read {
            Ok(batches) => match self.keep(batches) {
                Ok(batches) => self.event(id, Event::Fetched { fetch, batches }),
                Err(error) => {
                    tracing::error!(group = %self.group, %error, "a stored batch cannot be read");
                    self.event(id, Event::FetchFailed(fetch));
                }
            },
            Err(error) => {
                // Retention may have taken what was to be read.
                self.look_at_tail();
                tracing::debug!(group = %self.group, subscription = %id, %error, "nothing was fetched");
                self.event(id, Event::FetchFailed(fetch));
            }
        }
    }

    fn due(&mut self, id: SubscriptionId, fetch: FetchId, page: Result<DelayedPage, CursorError>) {
        let event = match page {
            Ok(DelayedPage { batches, next, due_next }) => match self.keep(batches) {
                Ok(batches) => Event::Due { fetch, batches, next, due_next },
                Err(_) => Event::FetchFailed(fetch),
            },
            Err(_) => Event::FetchFailed(fetch),
        };
        self.event(id, event);
    }

    fn keep(&mut self, batches: Vec<StoredBatch>) -> Result<Vec<BatchMeta>, BatchError> {
        batches.into_iter().map(|stored| Ok(self.pages.keep(stored)?.meta())).collect()
    }

    fn confirm_seeks(&mut self, id: SubscriptionId) {
        let Some(served) = self.served.get_mut(&id) else { return };
        for (consumer, request) in std::mem::take(&mut served.seeks) {
            let seat = self.served.get(&id).and_then(|served| served.consumers.get(&consumer));
            if let Some(seat) = seat.map(|consumer| consumer.seat) {
                self.send(seat, Response::Confirmed(SubscribeConfirmed { requests: vec![request] }));
            }
        }
    }

    /// Begins to dispatch, a little later where it failed before.
    pub(super) fn begin(&mut self, id: SubscriptionId, life: u64, later: Option<Duration>) {
        let (cursors, group) = (self.room.cursors.clone(), self.group);
        let of = For { subscription: id, life };
        self.work.push(Box::pin(async move {
            wait(later).await;
            (of, Done::Begun(cursors.begin_dispatch(group, id).await))
        }));
    }

    pub(super) fn seek(&mut self, id: SubscriptionId, to: Offset, later: Option<Duration>) {
        let Some(Served { life, .. }) = self.served.get(&id) else { return };
        let (cursors, group, of) = (self.room.cursors.clone(), self.group, For { subscription: id, life: *life });
        self.work.push(Box::pin(async move {
            wait(later).await;
            (of, Done::Sought(to, cursors.seek(group, id, to).await))
        }));
    }
}

async fn wait(later: Option<Duration>) {
    if let Some(later) = later {
        tokio::time::sleep(later).await;
    }
}
