//! `[membership]`: how copies and leaders move between nodes.

use serde::{Deserialize, Serialize};

/// `[membership]`
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MembershipConfig {
    /// Whether leaders are kept even over the nodes, and go back to the node that should lead once it is there.
    pub rebalance_leaders: bool,
    /// Copies that are on their way at the same time, in the whole cluster. 0: copies never move.
    pub moves_max: usize,
    /// What a node sends to copies that do not vote yet, all together and with snapshots, in bytes a second.
    /// 0: as fast as it goes.
    pub move_bytes_per_second: u64,
    /// A node that has been silent for so long is taken for dead: its copies are made anew elsewhere, where there
    /// are nodes to take them. In milliseconds; 0: never.
    pub dead_after_ms: u64,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self {
            rebalance_leaders: true,
            moves_max: 4,
            move_bytes_per_second: 64 * 1024 * 1024,
            dead_after_ms: 600_000,
        }
    }
}
