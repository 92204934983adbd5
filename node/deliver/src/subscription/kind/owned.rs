//! Exclusive and failover: one consumer, whose ownership is committed before its first delivery.

use super::queue::Queue;
use super::{Consumers, Gates, Popped, Seat};
use crate::subscription::Token;

/// One queue, for the owner.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Owned {
    pub(super) queue: Queue,
    /// Its ownership is committed.
    pub(in crate::subscription) owner: Option<Seat>,
    /// Its ownership is being committed.
    pub(in crate::subscription) naming: Option<(Token, Seat)>,
    /// The owner gets nothing more: somebody of higher priority is there, and waits until it is done.
    pub(in crate::subscription) yields: bool,
}

impl Owned {
    pub(super) fn left(&mut self, seat: Seat) {
        if self.owner == Some(seat) {
            self.owner = None;
            self.yields = false;
        }
    }

    pub(super) fn next(
        &mut self,
        consumers: &Consumers,
        held_max: usize,
        gates: &Gates<'_>,
    ) -> Option<(Seat, Popped)> {
        let named = self.naming.filter(|_| planted!(DeliversBeforeOwned)).map(|(_, seat)| seat);
        let owner = self.owner.filter(|_| self.naming.is_none() && !self.yields).or(named)?;
        if !consumers.get(owner)?.has_room(held_max) {
            return None;
        }
        Some((owner, self.queue.pop(gates)?))
    }

    /// Whom a new owner should be: the one with the lowest priority, of these the one that came first.
    pub(in crate::subscription) fn candidate(consumers: &Consumers) -> Option<Seat> {
        let open = consumers.iter().filter(|(_, consumer)| consumer.is_open());
        open.min_by_key(|(seat, consumer)| (consumer.priority, *seat)).map(|(seat, _)| seat)
    }
}
