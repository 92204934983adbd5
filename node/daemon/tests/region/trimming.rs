//! Small segments and trims on demand, so that a story needs kilobytes where a region moves gigabytes.

use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::{PartitionCommand, PartitionPolicy};
use meridian_raft::Reply;
use meridian_sdk::admin::TopicInfo;

use crate::cluster::Region;
use crate::patience::until;

const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a segment where segments are small.
pub(crate) const SMALL_SEGMENT_BYTES: u64 = 32 * 1024;

async fn propose(region: &Region, topic: &TopicInfo, what: impl AsyncFn(u64) -> Option<PartitionCommand>) {
    until("the leader takes a command", async || {
        let leader = region.leader(topic).await;
        let command = Command::Partition(what(leader).await?);
        let (_, reply) = region.group(leader, topic)?.propose(&command, PATIENCE).await.ok()?;
        assert!(matches!(reply, Reply::Partition(_)));
        Some(())
    })
    .await;
}

/// Closes segments of the topic after [`SMALL_SEGMENT_BYTES`].
pub(crate) async fn small_segments(region: &Region, topic: &TopicInfo) {
    propose(region, topic, async |leader| {
        let group = region.group(leader, topic)?;
        let (control_index, policy) =
            group.view().partition(|machine| (machine.control_index(), *machine.policy()))?;
        let policy = PartitionPolicy { segment_bytes: SMALL_SEGMENT_BYTES, ..policy };
        Some(PartitionCommand::SetPolicy { stamp: group.stamp(), control_index, policy })
    })
    .await;
}

/// Trims to about `keep_bytes`, as retention would.
pub(crate) async fn trim(region: &Region, topic: &TopicInfo, keep_bytes: u64) {
    propose(region, topic, async |leader| {
        let stamp = region.group(leader, topic)?.stamp();
        let keep_bytes = Some(keep_bytes);
        Some(PartitionCommand::Trim { stamp, before: None, keep_bytes, forget_producers_before: None })
    })
    .await;
}

/// Waits until the leader's log begins behind `index`.
pub(crate) async fn purged_beyond(region: &Region, topic: &TopicInfo, index: u64) -> u64 {
    until("the leader has purged", async || {
        let leader = region.leader(topic).await;
        let purged = region.status(leader, topic).await?.purged_index;
        (purged > index).then_some(purged)
    })
    .await
}
