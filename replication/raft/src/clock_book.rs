//! What the other nodes said of themselves, and when: their clocks, and whether their disks are full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    heard: Mutex<BTreeMap<NodeId, Heard>>,
    disk_full: AtomicBool,
}

#[derive(Clone, Copy)]
struct Heard {
    clock: UnixMs,
    disk_full: bool,
    at: Instant,
}

impl ClockBook {
    /// An empty book of node `own`.
    pub fn new(own: NodeId, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { own, clock, heard: Mutex::default(), disk_full: AtomicBool::new(false) })
    }

    /// This node.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// This node's clock.
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Notes what a peer said.
    pub fn heard(&self, node: NodeId, clock_ms: u64, disk_full: bool) {
        if clock_ms > 0 && node != self.own {
            let heard = Heard { clock: UnixMs(clock_ms), disk_full, at: Instant::now() };
            self.heard.lock().insert(node, heard);
        }
    }

    /// Notes whether this node's disk is at its watermark; peers are told.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }

    /// Whether this node's disk is at its watermark.
    pub fn own_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Whether the disk of one of these nodes was at its watermark when it was last heard of.
    pub fn any_disk_full(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let heard = self.heard.lock();
        let full = |node: NodeId| match node == self.own {
            true => self.own_disk_full(),
            false => heard.get(&node).is_some_and(|heard| heard.disk_full && fresh(heard)),
        };
        nodes.into_iter().any(full)
    }

    /// The peer's clock as it should stand now, if it was heard from lately.
    pub fn clock_of(&self, node: NodeId) -> Option<UnixMs> {
        if node == self.own {
            return Some(self.now());
        }
        let heard = *self.heard.lock().get(&node)?;
        fresh(&heard).then(|| heard.clock.plus_ms(heard.at.elapsed().as_millis() as u64))
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

fn fresh(heard: &Heard) -> bool {
    heard.at.elapsed() < Duration::from_millis(CLOCK_FRESH_MS)
}
