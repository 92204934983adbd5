//! SUB-5: a key moves only after its earlier messages settle; first deliveries are in order for each key.

use meridian_model::subscription::SubscriptionKind;

use super::{Delivery, Judge, Scene, ensure};

impl Judge {
    pub(super) fn key_order(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let (replica, offset) = (scene.replica, delivery.place.offset.0);
        let stored = replica.log[offset as usize];
        if replica.rules.kind != SubscriptionKind::KeyShared || stored.key == 0 {
            return Ok(());
        }
        let said = |what: &str, other: u64| format!("SUB-5: {delivery:?}: {what} {other}");
        let first = !self.delivered.contains(&offset);
        for (other, with) in replica.log.iter().zip(0u64..) {
            if other.key != stored.key || with == offset || !replica.is_open(with) {
                continue;
            }
            if let Some((holder, until)) = self.held.get(&with) {
                // The key of what consumers kept from before is known once it is read, which is in order.
                let lanes = other.is_delayed() || stored.is_delayed();
                let unread = (with > offset || lanes) && !self.tried.contains_key(&with);
                let same = *holder == delivery.consumer || *until <= scene.now || unread;
                ensure(same, || said("another consumer has", with))?;
            }
            if !first || other.is_delayed() || stored.is_delayed() {
                continue;
            }
            // What has expired is settled without another delivery.
            if other.expire_at > 0 && scene.now > other.expire_at {
                continue;
            }
            let elsewhere = self.last_holder.get(&with).is_some_and(|last| *last != delivery.consumer);
            ensure(!elsewhere, || said("another consumer had, and it is not settled:", with))?;
            let ahead = with < offset && !self.delivered.contains(&with) && !self.said_done.contains(&with);
            ensure(!ahead, || said("never delivered, before it:", with))?;
        }
        Ok(())
    }
}
