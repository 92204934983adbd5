//! Messages that consumers hold, and when their leases end.

use std::collections::{BTreeMap, VecDeque};

use meridian_model::{Offset, Place, UnixMs};

use super::Seat;
use crate::subscription::message::Message;

/// A message in the hands of a consumer.
#[derive(Clone, Copy, Debug)]
pub(in crate::subscription) struct Held {
    pub(in crate::subscription) message: Message,
    pub(in crate::subscription) seat: Seat,
    pub(in crate::subscription) until: UnixMs,
}

/// All of them. Every lease has the same length and time does not go back, so leases end in the order in which they
/// begin: the queue is in order, and costs nothing to keep so.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Leases {
    held: BTreeMap<Offset, Held>,
    /// When leases end. Those that were extended or given back meanwhile are skipped.
    ends: VecDeque<(UnixMs, Offset)>,
}

impl Leases {
    pub(in crate::subscription) fn len(&self) -> usize {
        self.held.len()
    }

    pub(in crate::subscription) fn get(&self, offset: Offset) -> Option<&Held> {
        self.held.get(&offset)
    }

    pub(in crate::subscription) fn begin(&mut self, message: Message, seat: Seat, until: UnixMs) {
        self.held.insert(message.offset, Held { message, seat, until });
        self.queue(until, message.offset);
    }

    /// Begins the lease anew.
    pub(in crate::subscription) fn extend(&mut self, offset: Offset, until: UnixMs) {
        let Some(held) = self.held.get_mut(&offset) else { return };
        if held.until < until {
            held.until = until;
            self.queue(until, offset);
        }
    }

    pub(in crate::subscription) fn end(&mut self, offset: Offset) -> Option<Held> {
        self.held.remove(&offset)
    }

    /// The next message whose lease has ended.
    pub(in crate::subscription) fn next_ended(&mut self, now: UnixMs) -> Option<Offset> {
        let (until, offset) = self.first()?;
        (until <= now).then_some(offset)
    }

    /// When the next lease ends.
    pub(in crate::subscription) fn ends_next(&mut self) -> Option<UnixMs> {
        self.first().map(|(until, _)| until)
    }

    /// The first messages in a range, in order of offsets.
    pub(in crate::subscription) fn within(&self, from: Offset, to: Offset) -> impl Iterator<Item = &Held> {
        self.held.range(from..to.max(from)).map(|(_, held)| held)
    }

    /// What one consumer holds. Looks at everything: for consumers that come and go, not for messages.
    pub(in crate::subscription) fn of(&self, seat: Seat) -> Vec<Place> {
        self.held.values().filter(|held| held.seat == seat).map(|held| held.message.place()).collect()
    }

    fn first(&mut self) -> Option<(UnixMs, Offset)> {
        while let Some((until, offset)) = self.ends.front().copied() {
            if self.held.get(&offset).is_some_and(|held| held.until == until) {
                return Some((until, offset));
            }
            self.ends.pop_front();
        }
        None
    }

    fn queue(&mut self, until: UnixMs, offset: Offset) {
        self.ends.push_back((until, offset));
        // What is over is taken out once it is more than what is not, so the queue stays in proportion.
        if self.ends.len() > 2 * self.held.len() + 64 {
            let held = &self.held;
            self.ends.retain(|(until, offset)| held.get(offset).is_some_and(|held| held.until == *until));
        }
    }
}
