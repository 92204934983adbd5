//! Messages between two possessions: a consumer had them, and nobody has them now.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::{Offset, UnixMs};

use crate::subscription::message::Message;

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::subscription) enum Waits {
    /// That its failed attempt is committed.
    Commit,
    /// Its backoff.
    Until(UnixMs),
    /// A consumer.
    Consumer,
    /// Room for dead letters.
    Outbox,
}

/// A message, and what it waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::subscription) struct Loose {
    pub(in crate::subscription) message: Message,
    pub(in crate::subscription) waits: Waits,
}

/// All of them. As many as there are holes, at most.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Redelivery {
    loose: BTreeMap<Offset, Loose>,
    by_time: BTreeSet<(UnixMs, Offset)>,
    outbox: BTreeSet<Offset>,
}

impl Redelivery {
    pub(in crate::subscription) fn put(&mut self, message: Message, waits: Waits) {
        self.take(message.offset);
        match waits {
            Waits::Until(time) => {
                self.by_time.insert((time, message.offset));
            }
            Waits::Outbox => {
                self.outbox.insert(message.offset);
            }
            Waits::Commit | Waits::Consumer => {}
        }
        self.loose.insert(message.offset, Loose { message, waits });
    }

    pub(in crate::subscription) fn take(&mut self, offset: Offset) -> Option<Loose> {
        let loose = self.loose.remove(&offset)?;
        match loose.waits {
            Waits::Until(time) => {
                self.by_time.remove(&(time, offset));
            }
            Waits::Outbox => {
                self.outbox.remove(&offset);
            }
            Waits::Commit | Waits::Consumer => {}
        }
        Some(loose)
    }

    pub(in crate::subscription) fn get(&self, offset: Offset) -> Option<&Loose> {
        self.loose.get(&offset)
    }

    /// Takes a message whose backoff is over; from now on it waits for a consumer.
    pub(in crate::subscription) fn next_due(&mut self, now: UnixMs) -> Option<Message> {
        let (time, offset) = self.by_time.first().copied()?;
        let early = if planted!(BackoffIgnored) { 1_000 } else { 0 };
        if time > now.plus_ms(early) {
            return None;
        }
        let loose = self.take(offset)?;
        self.put(loose.message, Waits::Consumer);
        Some(loose.message)
    }

    /// When the next backoff is over.
    pub(in crate::subscription) fn due_next(&self) -> Option<UnixMs> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// The first message that waits for room among dead letters.
    pub(in crate::subscription) fn first_dead(&self) -> Option<Offset> {
        self.outbox.first().copied()
    }

    /// Those in a range.
    pub(in crate::subscription) fn within(&self, from: Offset, to: Offset) -> impl Iterator<Item = &Loose> {
        self.loose.range(from..to.max(from)).map(|(_, loose)| loose)
    }
}
