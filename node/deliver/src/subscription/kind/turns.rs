//! Whose turn it is: consumers that may have room, one after another.

use std::collections::{BTreeSet, VecDeque};

use super::Seat;

/// A ring of consumers. Nobody is in it twice.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ring: VecDeque<Seat>,
    members: BTreeSet<Seat>,
}

impl Turns {
    pub(super) fn enter(&mut self, seat: Seat) {
        if self.members.insert(seat) {
            self.ring.push_back(seat);
        }
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<Seat> {
        self.ring.front().copied()
    }

    /// The first one had its turn.
    pub(super) fn rotate(&mut self) {
        if self.ring.len() > 1 {
            self.ring.rotate_left(1);
        }
    }

    /// The first one leaves the ring.
    pub(super) fn leave(&mut self) {
        if let Some(seat) = self.ring.pop_front() {
            self.members.remove(&seat);
        }
    }
}
