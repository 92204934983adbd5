//! Shared: each message goes to whichever consumer has room, in turns.

use super::queue::Queue;
use super::turns::Turns;
use super::{Consumers, Gates, Popped, Seat};

/// One queue for all consumers.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Shared {
    pub(super) queue: Queue,
    turns: Turns,
}

impl Shared {
    pub(super) fn has_room(&mut self, seat: Seat) {
        self.turns.enter(seat);
    }

    pub(super) fn next(
        &mut self,
        consumers: &Consumers,
        held_max: usize,
        gates: &Gates<'_>,
    ) -> Option<(Seat, Popped)> {
        while let Some(seat) = self.turns.first() {
            if !consumers.get(seat).is_some_and(|consumer| consumer.has_room(held_max)) {
                self.turns.leave();
                continue;
            }
            let popped = self.queue.pop(gates)?;
            self.turns.rotate();
            return Some((seat, popped));
        }
        None
    }
}
