//! What the world answers: reads, commits, owners, new dispatches.

use meridian_commitlog::CursorError;
use meridian_model::{Offset, Place, UnixMs};

use super::coverage::Met;
use super::world::{Read, World};
use crate::subscription::{BatchMeta, Dispatcher, Event, Token};

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    Unavailable,
    UnknownApplied,
    UnknownLost,
    /// It may be applied until the next dispatch begins.
    UnknownLimbo,
}

/// Batches in one answer.
pub(super) const PAGE_BATCHES: usize = 3;

impl World<'_> {
    pub(super) fn answer_read(&mut self, fails: bool) -> Result<bool, String> {
        let Some(read) = self.reads.pop_front() else { return Ok(false) };
        let event = match read {
            Read::Main(fetch, _) | Read::Delayed(fetch, ..) if fails => {
                self.met.met(Met::OpFetchFailed);
                Event::FetchFailed(fetch)
            }
            Read::Main(fetch, from) => {
                self.met.met(Met::OpFetchAnswered);
                Event::Fetched { fetch, batches: self.batches(from) }
            }
            Read::Delayed(fetch, from, through) => {
                self.met.met(Met::OpDueAnswered);
                let wanted = self.replica.delayed_batches().filter(|(first, count)| {
                    Place { offset: first.offset.plus(count - 1), ..*first } >= from
                });
                let places: Vec<Place> = wanted.map(|(first, _)| first).collect();
                let mut due = places.iter().take_while(|place| place.deliver_at <= through);
                let page: Vec<BatchMeta> =
                    due.by_ref().take(PAGE_BATCHES).map(|place| self.replica.batch(place.offset.0)).collect();
                let next = due.next().copied();
                let due_next = places.iter().find(|place| place.deliver_at > through);
                let due_next = due_next.map(|place| place.deliver_at);
                Event::Due { fetch, batches: page, next, due_next }
            }
        };
        self.tell(event)?;
        Ok(true)
    }

    /// Tells how much room there is for dead letters, and where they go.
    pub(super) fn outbox(&mut self) -> Result<(), String> {
        let (room, to) = (self.replica.outbox_room(), self.replica.to);
        self.tell(Event::Outbox { room, to })
    }

    fn batches(&self, from: Offset) -> Vec<BatchMeta> {
        let mut batches: Vec<BatchMeta> = Vec::new();
        let mut at = from.0.max(self.replica.start());
        while at < self.replica.end() && batches.len() < PAGE_BATCHES {
            let batch = self.replica.batch(self.replica.log[at as usize].base);
            at = batch.end().0;
            batches.push(batch);
        }
        batches
    }

    pub(super) fn answer_commit(&mut self, outcome: Outcome) -> Result<bool, String> {
        let Some((token, mandate, settlement)) = self.commit.take() else { return Ok(false) };
        let unknown = || Event::CommitFailed(token, CursorError::Indeterminate("a test".into()));
        let event = match outcome {
            Outcome::Unavailable => {
                self.met.met(Met::OpCommitUnavailable);
                Event::CommitFailed(token, CursorError::Unavailable("a test".into()))
            }
            Outcome::UnknownLost => {
                self.met.met(Met::OpCommitUnknownLost);
                unknown()
            }
            Outcome::UnknownLimbo => {
                self.limbo = Some((mandate, settlement));
                unknown()
            }
            Outcome::Committed | Outcome::UnknownApplied => {
                match (self.apply(mandate, &settlement)?, outcome) {
                    (Err(error), _) => {
                        self.met.met(Met::SettlementRefusedStaleSeek);
                        Event::CommitFailed(token, error)
                    }
                    (Ok(()), Outcome::Committed) => {
                        self.met.met(Met::OpCommitted);
                        let outbox_room = self.replica.outbox_room();
                        Event::Committed { token, stamp: UnixMs(self.replica.stamp()), outbox_room }
                    }
                    (Ok(()), _) => {
                        self.met.met(Met::OpCommitUnknownApplied);
                        unknown()
                    }
                }
            }
        };
        self.tell(event)?;
        Ok(true)
    }

    pub(super) fn answer_own(&mut self, outcome: Outcome) -> Result<bool, String> {
        let Some((token, consumer)) = self.own.take() else { return Ok(false) };
        let unknown = || Event::OwnFailed(token, CursorError::Indeterminate("a test".into()));
        match outcome {
            Outcome::Committed => {}
            Outcome::Unavailable => {
                self.met.met(Met::OpOwnFailed);
                self.tell(Event::OwnFailed(token, CursorError::Unavailable("a test".into())))?;
                return Ok(true);
            }
            Outcome::UnknownLost | Outcome::UnknownLimbo => {
                self.tell(unknown())?;
                return Ok(true);
            }
            Outcome::UnknownApplied => {
                self.met.met(Met::OpOwnUnknownApplied);
                self.replica.own(self.now, consumer);
                self.tell(unknown())?;
                return Ok(true);
            }
        }
        self.met.met(Met::OpOwned);
        if self.replica.view().owner().is_some_and(|owner| owner != consumer) {
            self.met.met(Met::OwnerMoved);
        }
        let epoch = self.replica.own(self.now, consumer);
        self.tell(Event::Owned(token, epoch))?;
        Ok(true)
    }

    pub(super) fn answer_begin(&mut self, applies: bool) -> Result<bool, String> {
        let Some(token) = self.begin.take() else { return Ok(false) };
        self.settle_limbo(applies)?;
        self.met.met(Met::UnknownOutcomeResolved);
        self.begun(Some(token))?;
        Ok(true)
    }

    /// Another subscription's dispatcher begins anew, and with it all of the partition.
    pub(super) fn begin_for_another(&mut self) -> Result<(), String> {
        self.met.met(Met::OpBegunForAnother);
        self.begun(None)
    }

    fn begun(&mut self, token: Option<Token>) -> Result<(), String> {
        let standing = self.replica.begin(self.now);
        self.tell(Event::Begun { token, standing: Box::new(standing) })
    }

    /// What was proposed before a new dispatch is applied in front of it, or never.
    fn settle_limbo(&mut self, applies: bool) -> Result<(), String> {
        let limbo = self.limbo.take().filter(|_| applies);
        limbo.map_or(Ok(()), |(mandate, settlement)| self.apply(mandate, &settlement).map(drop))
    }

    /// The leader goes. What it had asked for happened, or did not.
    pub(super) fn change_leader(&mut self, applies: bool) -> Result<(), String> {
        self.met.met(Met::OpLeaderChange);
        if let Some((_, mandate, settlement)) = self.commit.take() {
            self.limbo = Some((mandate, settlement));
        }
        self.settle_limbo(applies)?;
        if let Some((_, consumer)) = self.own.take().filter(|_| applies) {
            self.replica.own(self.now, consumer);
        }
        self.reads.clear();
        self.begin = None;
        for client in &mut self.clients {
            client.disconnect();
            client.lost_at = None;
        }
        self.judge.leader_changed();
        let (standing, log) = (self.replica.begin(self.now), self.replica.bounds());
        self.judge.grace_until = self.now + self.bounds.grace_ms;
        self.dispatcher = Dispatcher::new(standing, log, self.bounds.clone(), UnixMs(self.now), true);
        self.outbox()
    }
}
