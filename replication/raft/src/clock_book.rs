//! What the other nodes said of themselves, and when: their clocks, and how their disks are.

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
    disk_stalled: AtomicBool,
}

/// How a node's disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// At its watermark.
    pub full: bool,
    /// A write hangs.
    pub stalled: bool,
}

#[derive(Clone, Copy)]
struct Heard {
    clock: UnixMs,
    disk: DiskState,
    at: Instant,
}

impl ClockBook {
    /// An empty book of node `own`.
    pub fn new(own: NodeId, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (disk_full, disk_stalled) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { own, clock, heard: Mutex::default(), disk_full, disk_stalled })
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
    pub fn heard(&self, node: NodeId, clock_ms: u64, disk: DiskState) {
        if clock_ms > 0 && node != self.own {
            let heard = Heard { clock: UnixMs(clock_ms), disk, at: Instant::now() };
            self.heard.lock().insert(node, heard);
        }
    }

    /// Notes whether this node's disk is at its watermark; peers are told.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }

    /// Notes whether a write of this node hangs; peers are told.
    pub fn set_disk_stalled(&self, stalled: bool) {
        self.disk_stalled.store(stalled, Ordering::Relaxed);
    }

    /// How this node's disk is.
    pub fn own_disk(&self) -> DiskState {
        DiskState { full: self.own_disk_full(), stalled: self.disk_stalled.load(Ordering::Relaxed) }
    }

    /// Whether this node's disk is at its watermark.
    pub fn own_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Whether the disk of one of these nodes was at its watermark when it was last heard of.
    pub fn any_disk_full(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let heard = self.heard.lock();
        nodes.into_iter().any(|node| self.disk_of(&heard, node).full)
    }

    /// Whether a node is there and no write of it hangs: it may lead.
    pub fn may_lead(&self, node: NodeId) -> bool {
        self.clock_of(node).is_some() && !self.disk_of(&self.heard.lock(), node).stalled
    }

    fn disk_of(&self, heard: &BTreeMap<NodeId, Heard>, node: NodeId) -> DiskState {
        if node == self.own {
            return self.own_disk();
        }
        heard.get(&node).filter(|heard| fresh(heard)).map_or_else(DiskState::default, |heard| heard.disk)
    }

    /// The peer's clock as it should stand now, if it was heard from lately.
    pub fn clock_of(&self, node: NodeId) -> Option<UnixMs> {
        if node == self.own {
            return Some(self.now());
        }
        let heard = *self.heard.lock().get(&node)?;
        fresh(&heard).then(|| heard.clock.plus_ms(heard.at.elapsed().as_millis() as u64))
    }

    /// How long ago a node was heard from last; `None` if it never was.
    pub fn silence_of(&self, node: NodeId) -> Option<Duration> {
        match node == self.own {
            true => Some(Duration::ZERO),
            false => self.heard.lock().get(&node).map(|heard| heard.at.elapsed()),
        }
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
