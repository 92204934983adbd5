//! Where this node leads a partition: puts the topic's policy into force, seals what is deleted, and proposes
//! trims. What a trim removes is decided when it is applied, by every replica alike.

use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::{PartitionCommand, PartitionPolicy};
use meridian_model::limits::DEDUP_HORIZON_MS;
use meridian_model::topology::{Retention, Topic};
use meridian_model::{GroupId, UnixMs};
use meridian_raft::Group;

use super::Keeper;

const EVERY: Duration = Duration::from_millis(1_000);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn keep(keeper: Keeper) {
    loop {
        tokio::time::sleep(EVERY).await;
        for (id, topic) in keeper.led() {
            if let Some(group) = keeper.registry.get(id) {
                tend(&group, &topic).await;
            }
        }
    }
}

/// What a topic says to its partitions.
#[derive(Clone, Copy)]
struct Said {
    version: u64,
    retention: Retention,
    deleting: bool,
}

impl Keeper {
    fn led(&self) -> Vec<(GroupId, Said)> {
        let said = |topic: &Topic| Said {
            version: topic.version,
            retention: topic.retention,
            deleting: topic.deleting,
        };
        let all = self.control.look(|machine| {
            let partitions = machine.topics().flat_map(|topic| {
                topic.partitions.iter().map(move |placement| (placement.group, said(topic)))
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
    if let Some(trim) = due_trim(group, said.retention, stamp) {
        propose(group, trim).await;
    }
}

/// A trim, if it would remove something.
fn due_trim(group: &Group, retention: Retention, stamp: UnixMs) -> Option<PartitionCommand> {
    // Nothing is destroyed by age while the voters' clocks disagree.
    let now = group.destructive_time();
    let before = retention.age_ms.zip(now).map(|(age, now)| now.minus_ms(age));
    let due = group.view().partition(|machine| {
        let oldest = machine.segments().next();
        let by_age = before.is_some_and(|before| match oldest {
            Some(segment) => segment.last_stamp < before,
            None => machine.end() > machine.start() && machine.last_stamp() < before,
        });
        let by_size = retention.bytes.is_some_and(|keep| {
            oldest.is_some_and(|segment| machine.log_bytes().saturating_sub(segment.bytes) >= keep)
        });
        by_age || by_size
    });
    due.unwrap_or(false).then(|| PartitionCommand::Trim {
        stamp,
        before,
        keep_bytes: retention.bytes,
        forget_producers_before: now.map(|now| now.minus_ms(DEDUP_HORIZON_MS)),
    })
}

async fn propose(group: &Group, command: PartitionCommand) {
    if let Err(error) = group.propose(&Command::Partition(command), PATIENCE).await {
        tracing::debug!(group = %group.id(), %error, "a partition command was not applied");
    }
}
