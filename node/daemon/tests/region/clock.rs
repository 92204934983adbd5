//! One wall clock for all nodes of a test, which can be moved forward, and what one node makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use meridian_model::{Clock, UnixMs};

/// The machine's clock and how far it was moved.
#[derive(Default)]
pub(crate) struct MovableClock {
    ahead_ms: AtomicU64,
}

impl MovableClock {
    /// Time passes at once.
    pub(crate) fn forward(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(since.as_millis() as u64 + self.ahead_ms.load(Ordering::SeqCst))
    }
}

/// The clock of one node, which may be wrong.
pub(crate) struct NodeClock {
    shared: Arc<MovableClock>,
    skew_ms: AtomicU64,
}

impl NodeClock {
    pub(crate) fn of(shared: &Arc<MovableClock>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), skew_ms: AtomicU64::new(0) })
    }

    /// This node is so far ahead of the others.
    pub(crate) fn skew(&self, ms: u64) {
        self.skew_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> UnixMs {
        self.shared.now().plus_ms(self.skew_ms.load(Ordering::SeqCst))
    }
}
