//! What the other nodes' clocks said, and when they said it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian_model::clock::QuorumTime;
use meridian_model::limits::CLOCK_FRESH_MS;
use meridian_model::{Clock, NodeId, UnixMs};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Clocks of the peers, as they ride on heartbeats.
pub struct ClockBook {
    own: NodeId,
    clock: Arc<dyn Clock>,
    heard: Mutex<BTreeMap<NodeId, (UnixMs, Instant)>>,
}

impl ClockBook {
    /// An empty book of node `own`.
    pub fn new(own: NodeId, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { own, clock, heard: Mutex::default() })
    }

    /// This node.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// This node's clock.
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Notes what a peer's clock said.
    pub fn heard(&self, node: NodeId, clock_ms: u64) {
        if clock_ms > 0 && node != self.own {
            self.heard.lock().insert(node, (UnixMs(clock_ms), Instant::now()));
        }
    }

    /// The peer's clock as it should stand now, if it was heard from lately.
    pub fn clock_of(&self, node: NodeId) -> Option<UnixMs> {
        if node == self.own {
            return Some(self.now());
        }
        let (clock, at) = *self.heard.lock().get(&node)?;
        let age = at.elapsed();
        (age < Duration::from_millis(CLOCK_FRESH_MS)).then(|| clock.plus_ms(age.as_millis() as u64))
    }

    /// The time by the voters on these nodes. `None` without a fresh majority.
    pub fn quorum_time(&self, voters: &[NodeId]) -> Option<QuorumTime> {
        let clocks = voters.iter().filter_map(|node| self.clock_of(*node)).collect();
        QuorumTime::of(clocks, voters.len())
    }

    /// The stamp for a command proposed now in a group with these voters.
    pub fn stamp(&self, last: UnixMs, voters: &[NodeId]) -> UnixMs {
        match self.quorum_time(voters) {
            Some(time) => time.stamp(last, self.now()),
            None => last,
        }
    }
}
