//! What was waited for is done.

use std::time::Duration;

use meridian_commitlog::{
    CursorError, CursorRefusal, DelayedPage, ReadError, SeekTo, Settled, Standing, StoredBatch,
};
use meridian_deliver::subscription::{BatchMeta, DispatchBounds, Dispatcher, Event, FetchId, Token};
use meridian_model::{BatchError, SubscriptionId};
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{ErrorReason, Failure, SubscribeConfirmed};

use super::Partition;
use crate::refused::of_cursor;
use crate::served::State;
use crate::work::{AGAIN, Asked, Done, For};

impl Partition {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Begun(of, token, begun) if self.is_current(of) => self.begun(of, token, begun),
            Done::Fetched(of, fetch, read) if self.is_current(of) => {
                self.fetched(of.subscription, fetch, read);
            }
            Done::Due(of, fetch, page) if self.is_current(of) => self.due(of.subscription, fetch, page),
            Done::Settled(asked, settled) => self.settled(asked, settled),
            Done::Owned(of, token, owned) if self.is_current(of) => {
                let event = match owned {
                    Ok(epoch) => Event::Owned(token, epoch),
                    Err(error) => Event::OwnFailed(token, error),
                };
                self.event(of.subscription, event);
            }
            Done::Found(of, asked, place) if self.is_current(of) => match place {
                Ok(to) => {
                    let (Asked { consumer, request }, to) = (asked, SeekTo::Offset(to));
                    self.event(of.subscription, Event::Seek { consumer, request, to });
                }
                Err(error) => {
                    self.refuse_asked(of, asked, Failure::new(ErrorReason::Unavailable, error.to_string()));
                }
            },
            Done::Sought(of, asked, to, sought) if self.is_current(of) => self.sought(of, asked, to, sought),
            _ => {}
        }
    }

    fn is_current(&self, of: For) -> bool {
        self.served.get(&of.subscription).is_some_and(|served| served.life == of.life)
    }

    fn begun(&mut self, of: For, token: Option<Token>, begun: Result<u64, CursorError>) {
        let id = of.subscription;
        let standing = begun.and_then(|epoch| {
            // Rules that change in between are seen to differ later.
            let rules_at = self.room.cursors.glance(self.group, id)?.rules_at;
            let standing = self.room.cursors.standing(self.group, id)?;
            Ok((rules_at, Standing { dispatch_epoch: epoch, ..standing }))
        });
        match (standing, token) {
            (Ok((_, standing)), Some(_)) => {
                self.event(id, Event::Begun { token, standing: Box::new(standing) });
            }
            (Ok((rules_at, standing)), None) => self.go_on(id, rules_at, standing),
            (Err(CursorError::NotLeader { .. }), _) => self.over = true,
            // Consumers see that their part ends, and come again if there still is such a subscription.
            (Err(CursorError::Refused(_)), _) => drop(self.served.remove(&id)),
            (Err(_), _) => self.begin(of, token, Some(AGAIN)),
        }
    }

    fn go_on(&mut self, id: SubscriptionId, rules_at: u64, standing: Standing) {
        self.look_at_tail();
        let Ok(log) = self.room.log.bounds(self.group) else {
            self.over = true;
            return;
        };
        let buries = standing.rules.attempts_max.is_some();
        let (now, to) = (self.now(), self.destination(id, buries));
        let awaits = self.awaits.remove(&id).unwrap_or(false);
        let Some(served) = self.served.get_mut(&id) else { return };
        let State::Beginning(waiting) = &mut served.state else { return };
        let (waiting, room) = (std::mem::take(waiting), standing.outbox_room);
        let bounds = DispatchBounds::clone(&self.room.bounds);
        let dispatcher = Dispatcher::new(standing, log, bounds, now, awaits);
        served.state = State::Dispatching(Box::new(dispatcher));
        (served.rules_at, served.destination, served.buries) = (rules_at, to, buries);
        self.event(id, Event::Outbox { room, to });
        waiting.into_iter().for_each(|arrival| self.arrived(arrival));
    }

    fn settled(
        &mut self,
        asked: Vec<(For, Token)>,
        settled: Result<Vec<Result<Settled, CursorRefusal>>, CursorError>,
    ) {
        self.settling = false;
        let outcomes = match settled {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map_err(CursorError::from)).collect(),
            Err(error) => vec![Err(error); asked.len()],
        };
        for ((of, token), outcome) in asked.into_iter().zip(outcomes) {
            if self.is_current(of) {
                let event = match outcome {
                    Ok(Settled { stamp, outbox_room }) => Event::Committed { token, stamp, outbox_room },
                    Err(error) => Event::CommitFailed(token, error),
                };
                self.event(of.subscription, event);
            }
        }
    }

    fn sought(&mut self, of: For, asked: Asked, to: SeekTo, sought: Result<Box<Standing>, CursorError>) {
        match sought {
            Ok(standing) => {
                self.event(of.subscription, Event::Sought(standing));
                let confirmed = SubscribeConfirmed { requests: vec![asked.request] };
                self.send_to(of, asked, Response::Confirmed(confirmed));
            }
            Err(CursorError::NotLeader { .. }) => self.over = true,
            Err(error @ CursorError::Refused(_)) => self.refuse_asked(of, asked, of_cursor(&error)),
            Err(_) => self.seek(of, asked, to, Some(AGAIN)),
        }
    }

    fn refuse_asked(&mut self, of: For, asked: Asked, failure: Failure) {
        let consumer = self.served.get(&of.subscription).and_then(|s| s.consumers.get(&asked.consumer));
        if let Some(seat) = consumer.map(|consumer| consumer.seat) {
            self.refuse(seat, Some(asked.request), failure);
        }
    }

    fn send_to(&mut self, of: For, asked: Asked, response: Response) {
        let consumer = self.served.get(&of.subscription).and_then(|s| s.consumers.get(&asked.consumer));
        if let Some(seat) = consumer.map(|consumer| consumer.seat) {
            self.send(seat, response);
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

    /// Begins to dispatch, a little later where it failed before.
    pub(super) fn begin(&mut self, of: For, token: Option<Token>, later: Option<Duration>) {
        let (cursors, group) = (self.room.cursors.clone(), self.group);
        self.work.push(Box::pin(async move {
            wait(later).await;
            Done::Begun(of, token, cursors.begin_dispatch(group).await)
        }));
    }

    pub(super) fn seek(&mut self, of: For, asked: Asked, to: SeekTo, later: Option<Duration>) {
        let (cursors, group) = (self.room.cursors.clone(), self.group);
        self.work.push(Box::pin(async move {
            wait(later).await;
            Done::Sought(of, asked, to, cursors.seek(group, of.subscription, to).await.map(Box::new))
        }));
    }
}

async fn wait(later: Option<Duration>) {
    if let Some(later) = later {
        tokio::time::sleep(later).await;
    }
}
