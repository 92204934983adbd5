//! Where this node leads a partition: the subscriptions of its topic exist there, with their rules, and no others.
//!
//! What a partition has and the control group does not list was deleted, if the control state that is looked at is at or
//! past the subscription's id, which is the control index of its creation. If it is behind, it says nothing about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use meridian_commitlog::ReadError;
use meridian_machine::command::{StartAt, SubscriptionCommand};
use meridian_machine::control::{BeginAt, ControlMachine};
use meridian_machine::partition::{PartitionMachine, PartitionReply, SubscriptionRefusal};
use meridian_model::subscription::SubscriptionRules;
use meridian_model::{Offset, SubscriptionId};
use meridian_raft::Group;

use super::Keeper;

const PATIENCE: Duration = Duration::from_secs(5);
/// Partitions that are told at the same time.
const AT_ONCE: usize = 16;

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
    loop {
        seen = keeper.control_moved(seen).await;
        let led = futures::stream::iter(keeper.subscribed());
        led.for_each_concurrent(AT_ONCE, |(group, desired)| async move { bring(&group, &desired).await })
            .await;
    }
}

/// What a partition should have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Desired {
    /// The control index of the state that says so.
    as_of: u64,
    subscriptions: BTreeMap<SubscriptionId, Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    version: u64,
    rules: SubscriptionRules,
    begin: BeginAt,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Drop { id: SubscriptionId, control_index: u64 },
    Set { id: SubscriptionId, wanted: Wanted, exists: bool },
}

impl Desired {
    /// What the control group says of a group. `None`: nothing, or that its topic is being deleted.
    fn of(machine: &ControlMachine, group: meridian_model::GroupId) -> Option<Self> {
        let (topic, partition) = machine.group(group).filter(|(topic, _)| !topic.deleting)?;
        let wanted = machine.subscriptions_of(&topic.name).map(|subscription| {
            // A partition that was added later has nothing that was there before.
            let begin =
                if partition < subscription.partitions { subscription.begin } else { BeginAt::Earliest };
            let (version, rules) = (subscription.version, subscription.settings.rules.clone());
            (subscription.id, Wanted { version, rules, begin })
        });
        Some(Self { as_of: machine.last_applied().index, subscriptions: wanted.collect() })
    }

    /// What a partition lacks, or has too much of. What goes makes room for what comes.
    fn steps(&self, partition: &PartitionMachine) -> Vec<Step> {
        let ended = partition.subscriptions().map(|view| view.id());
        let ended = ended.filter(|id| id.0 <= self.as_of && !self.subscriptions.contains_key(id));
        let drops = ended.map(|id| Step::Drop { id, control_index: self.as_of });
        let sets = self.subscriptions.iter().filter_map(|(id, wanted)| {
            let known = partition.subscription(*id).map(|view| view.control_index());
            let behind = known.is_none_or(|known| known < wanted.version);
            behind.then(|| Step::Set { id: *id, wanted: wanted.clone(), exists: known.is_some() })
        });
        drops.chain(sets).collect()
    }
}

impl Keeper {
    /// The partitions led here that have subscriptions, or should have some.
    fn subscribed(&self) -> Vec<(Arc<Group>, Desired)> {
        let led: Vec<_> = self.registry.all().into_iter().filter(|group| group.is_leader()).collect();
        let found = self.control.look(|machine| {
            let desired =
                led.into_iter().filter_map(|group| Desired::of(machine, group.id()).map(|of| (group, of)));
            desired.collect::<Vec<_>>()
        });
        let has_any = |group: &Group| {
            group.view().partition(|machine| machine.subscriptions().next().is_some()) == Some(true)
        };
        let found = found.unwrap_or_default().into_iter();
        found.filter(|(group, desired)| !desired.subscriptions.is_empty() || has_any(group)).collect()
    }
}

async fn bring(group: &Arc<Group>, desired: &Desired) {
    for step in group.view().partition(|machine| desired.steps(machine)).unwrap_or_default() {
        let command = match command(group, &step).await {
            Ok(command) => command,
            Err(error) => {
                tracing::debug!(group = %group.id(), %error, "where a subscription begins cannot be read");
                continue;
            }
        };
        match group.propose_subscription(command, PATIENCE).await {
            // Whoever led before knew more: what is looked at here will say so soon.
            Ok(PartitionReply::SubscriptionRefused(SubscriptionRefusal::StaleControl { .. })) => {}
            Ok(PartitionReply::SubscriptionRefused(refusal)) => {
                tracing::warn!(group = %group.id(), ?step, %refusal, "a subscription could not be brought in line");
            }
            Ok(PartitionReply::SubscriptionDropped { dead_letters }) if dead_letters > 0 => {
                tracing::warn!(group = %group.id(), ?step, dead_letters, "dead letters went with their subscription");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(group = %group.id(), %error, "a subscription was not brought in line yet");
                return;
            }
        }
    }
}

async fn command(group: &Group, step: &Step) -> Result<SubscriptionCommand, ReadError> {
    let stamp = group.stamp();
    match step {
        Step::Drop { id, control_index } => {
            Ok(SubscriptionCommand::DropSubscription { stamp, control_index: *control_index, id: *id })
        }
        Step::Set { id, wanted, exists } => {
            // Where it begins means nothing to one that exists.
            let start = if *exists { StartAt::Latest } else { start(group, wanted.begin).await? };
            let (control_index, rules) = (wanted.version, wanted.rules.clone());
            Ok(SubscriptionCommand::SetSubscription { stamp, control_index, id: *id, rules, start })
        }
    }
}

async fn start(group: &Group, begin: BeginAt) -> Result<StartAt, ReadError> {
    match begin {
        BeginAt::Earliest => Ok(StartAt::Earliest),
        BeginAt::Latest => Ok(StartAt::Latest),
        BeginAt::Time(time) => group.start_at_time(time).await,
        BeginAt::Offset(Offset(offset)) => {
            let applied = group.view().applied();
            match offset {
                _ if offset >= applied.end.0 => Ok(StartAt::Latest),
                _ if offset <= applied.start.0 => Ok(StartAt::Earliest),
                _ => group.start_at(Offset(offset)).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_machine::command::PartitionCommand;
    use meridian_machine::{At, Effect};
    use meridian_model::{LogId, UnixMs};

    use super::*;

    const A: SubscriptionId = SubscriptionId(5);
    const B: SubscriptionId = SubscriptionId(7);

    fn wanted(version: u64) -> Wanted {
        Wanted { version, rules: SubscriptionRules::default(), begin: BeginAt::Earliest }
    }

    fn desired(as_of: u64, of: &[(SubscriptionId, u64)]) -> Desired {
        Desired { as_of, subscriptions: of.iter().map(|(id, version)| (*id, wanted(*version))).collect() }
    }

    /// A partition that has these subscriptions, with rules of these control indexes.
    fn partition(of: &[(SubscriptionId, u64)]) -> PartitionMachine {
        let mut machine = PartitionMachine::new(LogId::from_u128(1));
        for ((id, control_index), index) in of.iter().zip(1..) {
            let set = SubscriptionCommand::SetSubscription {
                stamp: UnixMs(1),
                control_index: *control_index,
                id: *id,
                rules: SubscriptionRules::default(),
                start: StartAt::Earliest,
            };
            let mut effects: Vec<Effect> = Vec::new();
            machine.apply(At { term: 1, index }, 100, &PartitionCommand::Subscription(set), &mut effects);
        }
        machine
    }

    #[test]
    fn what_is_missing_is_set_and_what_is_as_it_should_be_is_left_alone() {
        let steps = desired(9, &[(A, 5), (B, 7)]).steps(&partition(&[(A, 5)]));
        assert_eq!(steps, [Step::Set { id: B, wanted: wanted(7), exists: false }]);
    }

    #[test]
    fn rules_that_changed_are_set_again() {
        let steps = desired(9, &[(A, 8)]).steps(&partition(&[(A, 5)]));
        assert_eq!(steps, [Step::Set { id: A, wanted: wanted(8), exists: true }]);
    }

    #[test]
    fn what_was_deleted_is_dropped_before_anything_is_set() {
        let steps = desired(9, &[(B, 7)]).steps(&partition(&[(A, 5)]));
        let set = Step::Set { id: B, wanted: wanted(7), exists: false };
        assert_eq!(steps, [Step::Drop { id: A, control_index: 9 }, set]);
    }

    #[test]
    fn a_state_from_before_a_subscription_was_created_does_not_drop_it() {
        assert_eq!(desired(6, &[(A, 5)]).steps(&partition(&[(A, 5), (B, 7)])), []);
    }
}
