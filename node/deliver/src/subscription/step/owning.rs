//! Exclusive and failover: who is the owner, committed before anything is delivered.

use meridian_commitlog::CursorError;
use meridian_model::ConsumerId;

use crate::subscription::kind::{Kind, Owned};
use crate::subscription::state::Seat;
use crate::subscription::{Action, Dispatcher, Stopped, Token};

impl Dispatcher {
    /// Names an owner where there is none, or where somebody of higher priority waits and the owner holds nothing.
    pub(in crate::subscription) fn name_owner(&mut self, out: &mut Vec<Action>) {
        let waits = self.grace_until.is_some() || self.retry_at.is_some() || self.beginning.is_some();
        let Kind::Owned(owned) = &mut self.kind else { return };
        let Some(best) = Owned::candidate(&self.consumers).filter(|_| !waits && owned.naming.is_none())
        else {
            return;
        };
        if let Some(owner) = owned.owner.and_then(|seat| self.consumers.get(seat)) {
            let first = self.consumers.get(best).map_or(u32::MAX, |consumer| consumer.priority);
            owned.yields = first < owner.priority;
            // What it has said must be committed first: it would be fenced by the next epoch.
            if !owned.yields || owner.held > 0 || owner.unconfirmed > 0 || self.in_flight.is_some() {
                return;
            }
        } else if self.in_flight.is_some() {
            return;
        }
        let Some(consumer) = self.consumers.get(best).map(|consumer| consumer.id) else { return };
        self.numbers += 1;
        let token = Token(self.numbers);
        owned.owner = None;
        owned.naming = Some((token, best));
        out.push(Action::Own { token, consumer });
    }

    pub(in crate::subscription) fn owned(&mut self, token: Token, epoch: u64) {
        let Kind::Owned(owned) = &mut self.kind else { return };
        let Some((_, seat)) = owned.naming.take_if(|(asked, _)| *asked == token) else { return };
        if !planted!(OwnerEpochKept) {
            self.epochs.owner = epoch;
        }
        self.owner_known = true;
        owned.yields = false;
        owned.owner = self.consumers.get(seat).map(|_| seat);
    }

    pub(in crate::subscription) fn own_failed(
        &mut self,
        token: Token,
        error: &CursorError,
        out: &mut Vec<Action>,
    ) {
        let Kind::Owned(owned) = &mut self.kind else { return };
        if owned.naming.take_if(|(asked, _)| *asked == token).is_none() {
            return;
        }
        match error {
            CursorError::Unavailable(_) => self.retry(),
            // Naming it again raises the epoch again, which harms nobody: nothing was delivered under it.
            CursorError::Indeterminate(_) => {
                self.owner_known = false;
                self.retry();
            }
            CursorError::NotLeader { .. } => self.stop(Stopped::NotLeader, out),
            CursorError::Refused(refusal) => self.stop(Stopped::Refused(*refusal), out),
        }
    }

    /// The owner from before came back within the grace: nobody else can hold anything, so the grace is over.
    pub(in crate::subscription) fn owner_came_back(&mut self, seat: Seat, consumer: ConsumerId) {
        let Kind::Owned(owned) = &mut self.kind else { return };
        if self.grace_until.is_some() && self.owner_before == Some(consumer) {
            owned.owner = Some(seat);
            // Only what it claims while joining is still to come, and that is read from the beginning.
            self.grace_ends = true;
        }
    }

    /// Whether this consumer may speak for the partition. Always, where there are no owners.
    pub(in crate::subscription) fn may_speak(&self, seat: Seat) -> bool {
        match &self.kind {
            Kind::Owned(owned) => owned.owner == Some(seat),
            _ => true,
        }
    }
}
