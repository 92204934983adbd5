//! What tests see of a dispatcher from within.

use meridian_model::{ConsumerId, Offset};

use crate::subscription::Dispatcher;

impl Dispatcher {
    /// Messages in the window, and the most that one consumer holds.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let held = self.consumers.iter().map(|(_, consumer)| consumer.held).max();
        (self.window.waiting, held.unwrap_or_default())
    }

    /// Whether somebody holds a message that was read here.
    pub(super) fn is_held(&self, offset: Offset) -> bool {
        self.leases.get(offset).is_some()
    }

    /// Who is here and had a message last that is between two possessions.
    pub(super) fn taken_from(&self, offset: Offset) -> Option<ConsumerId> {
        let last = self.redelivery.get(offset)?.message.last?;
        self.consumers.get(last).map(|consumer| consumer.id)
    }

    pub(super) fn floor(&self) -> u64 {
        self.main_ledger.floor().0
    }

    /// Whether there are as many holes as there may be.
    pub(super) fn is_held_back(&self) -> bool {
        !self.main_ledger.admits(self.window.next) && self.window.waiting > 0
    }
}
