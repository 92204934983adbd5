//! Decisions that wait for a commit: one settlement is in flight at most, the rest is collected.

use std::collections::BTreeMap;

use meridian_model::subscription::{DeadLetter, Nack, Settlement};
use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, UnixMs};

use super::Seat;
use crate::subscription::Token;

/// A request of a consumer that is answered when what it said is committed.
#[derive(Clone, Debug)]
pub(in crate::subscription) struct Request {
    pub(in crate::subscription) seat: Seat,
    /// On which of its streams it was asked.
    pub(in crate::subscription) stream: u64,
    pub(in crate::subscription) number: u64,
    /// What it said of messages that are not known here: it may turn out wrong.
    pub(in crate::subscription) unseen: Vec<OffsetRange>,
}

/// Decisions in the order of nothing: they are about different messages.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Pending {
    pub(in crate::subscription) acked: OffsetRanges,
    pub(in crate::subscription) expired: OffsetRanges,
    pub(in crate::subscription) nacked: BTreeMap<Offset, UnixMs>,
    pub(in crate::subscription) dead: Vec<Offset>,
    pub(in crate::subscription) requests: Vec<Request>,
    /// Keys of messages that are settled by this, for the kind that keeps keys together.
    pub(in crate::subscription) keys: Vec<u64>,
    /// Messages of the main lane that left the window and are settled by this.
    pub(in crate::subscription) main: usize,
    /// Messages of the delayed lane.
    pub(in crate::subscription) delayed: usize,
    /// Nothing is to be settled, but the stamp is to move.
    pub(in crate::subscription) stamp_wanted: bool,
}

/// A settlement whose outcome is awaited.
#[derive(Debug)]
pub(in crate::subscription) struct InFlight {
    pub(in crate::subscription) token: Token,
    pub(in crate::subscription) pending: Pending,
    /// The seek epoch under which it was decided.
    pub(in crate::subscription) seek_epoch: u64,
}

impl Pending {
    pub(in crate::subscription) fn is_empty(&self) -> bool {
        !self.stamp_wanted
            && self.requests.is_empty()
            && self.acked.is_empty()
            && self.expired.is_empty()
            && self.nacked.is_empty()
            && self.dead.is_empty()
    }

    pub(in crate::subscription) fn settlement(&self, dead_letters_to: Option<LogId>) -> Settlement {
        let nack =
            |(offset, not_before): (&Offset, &UnixMs)| Nack { offset: *offset, not_before: *not_before };
        let dead =
            |destination| self.dead.iter().map(move |offset| DeadLetter { offset: *offset, destination });
        Settlement {
            cumulative: None,
            acked: self.acked.iter().collect(),
            expired: self.expired.iter().collect(),
            nacked: self.nacked.iter().map(nack).collect(),
            dead: dead_letters_to.into_iter().flat_map(dead).collect(),
        }
    }

    /// Takes back what was not committed.
    pub(in crate::subscription) fn absorb(&mut self, other: Pending) {
        for range in other.acked.iter() {
            self.acked.insert(range);
        }
        for range in other.expired.iter() {
            self.expired.insert(range);
        }
        self.nacked.extend(other.nacked);
        // What was settled meanwhile did not fail.
        self.nacked.retain(|offset, _| !self.acked.contains(*offset));
        self.dead.extend(other.dead);
        self.requests.splice(0..0, other.requests);
        self.keys.extend(other.keys);
        self.main += other.main;
        self.delayed += other.delayed;
        self.stamp_wanted |= other.stamp_wanted;
    }
}
