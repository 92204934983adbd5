//! Making, changing, owning and dropping a subscription, as the control group and the leader say.

use meridian_model::subscription::SubscriptionRules;
use meridian_model::{ConsumerId, SubscriptionId};

use super::state::Subscription;
use super::{PartitionMachine, PartitionReply, SubscriptionBound, SubscriptionRefusal, Subscriptions, keys};
use crate::command::StartAt;
use crate::partition::Bounds;
use crate::{At, Table};

impl PartitionMachine {
    pub(super) fn set_subscription(
        &mut self,
        at: At,
        control_index: u64,
        id: SubscriptionId,
        rules: &SubscriptionRules,
        start: StartAt,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        if let Some(current) = self.subscriptions.gone.get(&id) {
            // An id is one life. Whatever is said of it after its end was said before.
            return Err(SubscriptionRefusal::StaleControl { current: *current });
        }
        if let Some(sub) = self.subscriptions.rows.get_mut(&id) {
            sub.change(control_index, rules)?;
            self.subscriptions.write(id);
            return Ok(PartitionReply::SubscriptionSet { created: false });
        }
        if self.core.sealed {
            return Err(SubscriptionRefusal::Sealed);
        }
        if self.subscriptions.rows.len() >= self.bounds.subscriptions_max {
            return Err(SubscriptionRefusal::Bound(SubscriptionBound::Subscriptions));
        }
        let (offset, before) = self.resolve(start)?;
        let mut sub = Subscription::new(id, control_index, rules.clone(), offset, before);
        self.begin_delayed(at, &mut sub);
        let subs = &mut self.subscriptions;
        subs.journal.insert(Table::Subscription, keys::subscription(id), sub.row());
        subs.rows.insert(id, sub);
        Ok(PartitionReply::SubscriptionSet { created: true })
    }
}

impl Subscription {
    fn change(&mut self, control_index: u64, rules: &SubscriptionRules) -> Result<(), SubscriptionRefusal> {
        if control_index < self.control_index && !planted!(OldRulesWin) {
            return Err(SubscriptionRefusal::StaleControl { current: self.control_index });
        }
        if rules.kind != self.rules.kind {
            // Whoever owned it under the old kind must not pass for an owner under a later one.
            self.owner = None;
            self.owner_epoch += 1;
        }
        (self.control_index, self.rules) = (control_index, rules.clone());
        Ok(())
    }
}

impl Subscriptions {
    /// Removes a subscription with all its rows, dead letters on their way too: whoever wants these to arrive drops it
    /// when the outbox is empty. One that is not there is remembered as dropped all the same.
    pub(super) fn drop_subscription(
        &mut self,
        control_index: u64,
        id: SubscriptionId,
        bounds: &Bounds,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        let known = self.rows.get(&id).map(|sub| sub.control_index).or(self.gone.get(&id).copied());
        if let Some(current) = known.filter(|current| control_index < *current) {
            return Err(SubscriptionRefusal::StaleControl { current });
        }
        let dead_letters = match self.rows.remove(&id) {
            Some(sub) => {
                sub.delete_rows(&mut self.journal);
                sub.outbox.letters as u64
            }
            None => 0,
        };
        let (key, value) = (keys::subscription(id), control_index.to_le_bytes().to_vec());
        match self.gone.insert(id, control_index) {
            Some(_) => self.journal.update(Table::DroppedSubscription, key, value),
            None => self.journal.insert(Table::DroppedSubscription, key, value),
        }
        while self.gone.len() > bounds.dropped_max {
            let oldest = self.gone.iter().min_by_key(|(_, index)| **index).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.gone.remove(&oldest);
            self.journal.delete(Table::DroppedSubscription, keys::subscription(oldest));
        }
        Ok(PartitionReply::SubscriptionDropped { dead_letters })
    }

    /// The owner changes, or comes back: acks for deliveries to an earlier one are refused from here on (SUB-3).
    pub(super) fn own(
        &mut self,
        id: SubscriptionId,
        owner: Option<ConsumerId>,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        let sub = self.known(id)?;
        if !sub.rules.kind.is_owned() {
            return Err(SubscriptionRefusal::NotOwned);
        }
        sub.owner = owner;
        if !planted!(OwnerEpochStays) {
            sub.owner_epoch += 1;
        }
        let epoch = sub.owner_epoch;
        self.write(id);
        Ok(PartitionReply::Owned { epoch })
    }
}
