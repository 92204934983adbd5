//! SUB-3: one owner, and epochs on everything.

use super::{Delivery, Judge, Scene, ensure};

impl Judge {
    pub(super) fn owner_and_epochs(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let (replica, under) = (scene.replica, delivery.under);
        ensure(under.dispatch == replica.dispatch_epoch(), || {
            format!("SUB-3: {delivery:?} under an old dispatch")
        })?;
        ensure(under.seek == replica.view().seek_epoch(), || {
            format!("SUB-3: {delivery:?} under an old seek")
        })?;
        if replica.rules.kind.is_owned() {
            let (owner, epoch) = (replica.view().owner(), replica.view().owner_epoch());
            let owns = owner == Some(delivery.consumer) && epoch == under.owner;
            ensure(owns, || format!("SUB-3: {delivery:?}, owner {owner:?} {epoch}"))?;
        }
        ensure(scene.now >= self.grace_until, || format!("SUB-4: {delivery:?} within the grace"))
    }
}
