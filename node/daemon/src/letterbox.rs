//! Where the dead letters of a partition go: to the partition of the same number of the dead-letter topic, as far as
//! that has so many.

use std::sync::Arc;

use meridian_dispatch::Letterbox;
use meridian_machine::control::ControlMachine;
use meridian_model::{GroupId, LogId, SubscriptionId};

use crate::control_plane::ControlPlane;

/// By the control state applied here.
pub(crate) struct Letterboxes {
    pub(crate) control: Arc<ControlPlane>,
}

fn find(machine: &ControlMachine, group: GroupId, id: SubscriptionId) -> Option<LogId> {
    let subscription = machine.subscriptions().find(|known| known.id == id)?;
    let to = machine.topic(subscription.settings.dead_letter.as_ref()?).filter(|topic| !topic.deleting)?;
    let topic = machine.topic(&subscription.topic)?;
    let number = topic.partitions.iter().position(|placement| placement.group == group)?;
    Some(to.partitions.get(number % to.partitions.len().max(1))?.log)
}

impl Letterbox for Letterboxes {
    fn destination(&self, group: GroupId, subscription: SubscriptionId) -> Option<LogId> {
        self.control.look(|machine| find(machine, group, subscription)).flatten()
    }
}
