//! Where this node leads a partition: puts the topic's policy into force, seals what is deleted, and proposes
//! trims. What a trim removes is decided when it is applied, by every replica alike. It waits for subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::{PartitionCommand, PartitionPolicy, SubscriptionCommand};
use meridian_machine::control::ControlMachine;
use meridian_machine::partition::PartitionMachine;
use meridian_model::limits::{DEDUP_HORIZON_MS, DELAYED_SWEPT_MAX};
use meridian_model::topology::{Retention, Topic};
use meridian_model::{GroupId, Offset, SubscriptionId, UnixMs};
use meridian_raft::Group;

use super::Keeper;
use super::backlog::Waiting;

const EVERY: Duration = Duration::from_millis(1_000);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn keep(keeper: Keeper) {
    loop {
        tokio::time::sleep(EVERY).await;
        for (id, topic) in keeper.led() {
            if let Some(group) = keeper.registry.get(id) {
                tend(&group, &topic).await;
                sweep(&group).await;
            }
        }
    }
}

/// What a topic says to its partitions.
#[derive(Clone)]
struct Said {
    version: u64,
    retention: Retention,
    deleting: bool,
    /// Subscriptions that retention does not wait for.
    fleeting: Arc<BTreeSet<SubscriptionId>>,
}

impl Said {
    fn of(machine: &ControlMachine, topic: &Topic) -> Self {
        let fleeting = machine.subscriptions_of(&topic.name).filter(|known| !known.settings.durable);
        Self {
            version: topic.version,
            retention: topic.retention,
            deleting: topic.deleting,
            fleeting: Arc::new(fleeting.map(|known| known.id).collect()),
        }
    }
}

impl Keeper {
    fn led(&self) -> Vec<(GroupId, Said)> {
        let all = self.control.look(|machine| {
            let partitions = machine.topics().flat_map(|topic| {
                let said = Said::of(machine, topic);
                topic.partitions.iter().map(move |placement| (placement.group, said.clone()))
            });
            partitions.collect::<Vec<_>>()
        });
        let leads = |group: &GroupId| self.registry.get(*group).is_some_and(|group| group.is_leader());
        all.unwrap_or_default().into_iter().filter(|(group, _)| leads(group)).collect()
    }
}

async fn tend(group: &Arc<Group>, said: &Said) {
    let Some((control_index, policy, sealed)) =
        group.view().partition(|machine| (machine.control_index(), *machine.policy(), machine.sealed()))
    else {
        return;
    };
    let stamp = group.stamp();
    if said.deleting && !sealed {
        propose(group, PartitionCommand::Seal { stamp, control_index: said.version }).await;
    } else if control_index < said.version && policy.retention != said.retention {
        let policy = PartitionPolicy { retention: said.retention, ..policy };
        propose(group, PartitionCommand::SetPolicy { stamp, control_index: said.version, policy }).await;
    }
    if let Some(trim) = due_trim(group, said, stamp).await {
        propose(group, trim).await;
    }
}

/// A trim, if it would remove something.
async fn due_trim(group: &Group, said: &Said, stamp: UnixMs) -> Option<PartitionCommand> {
    // Nothing is destroyed by age while the voters' clocks disagree.
    let now = group.destructive_time();
    let (before, keep_bytes) =
        (said.retention.age_ms.zip(now).map(|(age, now)| now.minus_ms(age)), said.retention.bytes);
    let forget_producers_before = now.map(|now| now.minus_ms(DEDUP_HORIZON_MS));
    let (due, subscribed) = group.view().partition(|machine| {
        let subscribed = machine.subscriptions().next().is_some();
        (due_below(machine, before, keep_bytes), subscribed)
    })?;
    let due = due?;
    if !subscribed {
        return Some(PartitionCommand::Trim { stamp, before, keep_bytes, forget_producers_before });
    }
    let waiting = Waiting::look(group, &said.fleeting).await.filter(|waiting| !waiting.holds_below(due))?;
    Some(PartitionCommand::Subscription(SubscriptionCommand::TrimBacklog {
        stamp,
        before,
        keep_bytes,
        forget_producers_before,
        live_delayed: Some(waiting.live_delayed),
        drop_backlog: waiting.drop_backlog,
    }))
}

/// Where the first segment ends that is due to go.
fn due_below(machine: &PartitionMachine, before: Option<UnixMs>, keep_bytes: Option<u64>) -> Option<Offset> {
    let oldest = machine.segments().next();
    let by_age = before.is_some_and(|before| match oldest {
        Some(segment) => segment.last_stamp < before,
        None => machine.end() > machine.start() && machine.last_stamp() < before,
    });
    let by_size = keep_bytes.is_some_and(|keep| {
        oldest.is_some_and(|segment| machine.log_bytes().saturating_sub(segment.bytes) >= keep)
    });
    (by_age || by_size).then(|| oldest.map_or(machine.end(), |segment| segment.end))
}

/// Has the rows of delayed batches removed that trims have left behind.
async fn sweep(group: &Group) {
    if group.view().partition(|machine| machine.delayed_messages()).unwrap_or(0) == 0 {
        return;
    }
    match group.delayed_left_behind(DELAYED_SWEPT_MAX).await {
        Ok(left) if !left.is_empty() => {
            let batches = left.iter().map(|batch| batch.first).collect();
            let command = SubscriptionCommand::SweepDelayed { stamp: group.stamp(), batches };
            propose(group, PartitionCommand::Subscription(command)).await;
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(group = %group.id(), %error, "delayed batches cannot be read"),
    }
}

async fn propose(group: &Group, command: PartitionCommand) {
    if let Err(error) = group.propose(&Command::Partition(command), PATIENCE).await {
        tracing::debug!(group = %group.id(), %error, "a partition command was not applied");
    }
}
