//! Timing of groups: how often leaders speak, how long silence may last, and what openraft is told of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// Timing of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How often a leader says that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence beyond the lease after which a follower stands for election by its own timer, in
    /// milliseconds.
    pub election_ms_min: u64,
    /// The longest, and the leader's lease, in milliseconds. A node counts as lost after half of it.
    pub election_ms_max: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self { heartbeat_ms: 400, election_ms_min: 900, election_ms_max: 1_000 }
    }
}

impl GroupConfig {
    /// How long a node may say nothing before it counts as lost: well below the lease, so that its groups can
    /// elect when that ends.
    pub fn silence_max(&self) -> Duration {
        Duration::from_millis(self.election_ms_max / 2)
    }

    /// The leader's lease.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.election_ms_max)
    }

    pub(crate) fn raft(&self, name: String) -> Result<Arc<Config>, io::Error> {
        let config = Config {
            cluster_name: name,
            // The metronome beats for all groups. This is how rarely a group may look at its election timer, and
            // how long a heartbeat may take.
            heartbeat_interval: self.election_ms_min - 1,
            enable_heartbeat: false,
            election_timeout_min: self.election_ms_min,
            election_timeout_max: self.election_ms_max,
            install_snapshot_timeout: 600_000,
            max_payload_entries: 256,
            // Purge is retention: a snapshot is taken when a trim was applied, and never otherwise.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            purge_batch_size: 1,
            api_channel_size: Some(1_024),
            notification_channel_size: Some(1_024),
            state_machine_channel_size: Some(256),
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            // The metronome does what this would do: openraft would silence the beats of quiet groups.
            quorum_loss_probe_interval: None,
            backoff: "20ms 40ms ...500ms".into(),
            ..Config::default()
        };
        Ok(Arc::new(config.validate().map_err(io::Error::other)?))
    }
}
