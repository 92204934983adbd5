//! A node's wall clock: the simulation's time, off by the node's own error, which may jump.

use std::sync::atomic::{AtomicI64, Ordering};

use meridian_model::{Clock, UnixMs};

use crate::interpose::EPOCH_SECONDS;
use crate::trace;

/// A wall clock that is wrong by so much.
#[derive(Debug, Default)]
pub(crate) struct SkewedClock {
    skew_ms: AtomicI64,
}

impl SkewedClock {
    pub(crate) fn new(skew_ms: i64) -> Self {
        Self { skew_ms: AtomicI64::new(skew_ms) }
    }

    /// From now on the clock is wrong by so much more.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.skew_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> UnixMs {
        let true_ms = EPOCH_SECONDS * 1_000 + trace::now_ns() / 1_000_000;
        UnixMs(true_ms.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }
}
