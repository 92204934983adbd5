//! What came of comparing tables with other replicas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use meridian_model::{GroupId, NodeId};
use parking_lot::Mutex;

/// How many digests were compared, and which differed.
#[derive(Default)]
pub struct Comparison {
    compared: AtomicU64,
    differing: Mutex<BTreeMap<(GroupId, NodeId), u64>>,
}

impl Comparison {
    /// Two replicas had the same tables, or not, after the entry `index`. True where that is the first difference
    /// from that node in this group.
    pub fn note(&self, group: GroupId, node: NodeId, index: u64, same: bool) -> bool {
        self.compared.fetch_add(1, Ordering::Relaxed);
        !same && self.differing.lock().insert((group, node), index).is_none()
    }

    /// Forgets the differences from replicas that are not there any more.
    pub fn forget(&self, is_there: impl Fn(GroupId, NodeId) -> bool) {
        self.differing.lock().retain(|(group, node), _| is_there(*group, *node));
    }

    /// Digests compared so far.
    pub fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// Where another node's tables differed, and after which entry last.
    pub fn differing(&self) -> BTreeMap<(GroupId, NodeId), u64> {
        self.differing.lock().clone()
    }
}
