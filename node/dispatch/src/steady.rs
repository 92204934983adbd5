//! The time that leases go by: it begins as the wall clock's and runs on by itself, so that a clock that is set does
//! not end every lease at once, or none for an hour.

use std::sync::Arc;

use meridian_model::{Clock, UnixMs};
use tokio::time::Instant;

/// How far the wall clock may be from it before it counts as set, in milliseconds.
const APART_MS_MAX: u64 = 2_000;

/// Time of one dispatching partition.
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    began: UnixMs,
    since: Instant,
}

impl SteadyTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (began, since) = (clock.now(), Instant::now());
        Self { clock, began, since }
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.began.plus_ms(self.since.elapsed().as_millis() as u64)
    }

    /// Begins anew if the wall clock was set: says by how many milliseconds it is ahead.
    pub(crate) fn follow(&mut self) -> Option<i64> {
        let ahead_ms = self.clock.now().0 as i64 - self.now().0 as i64;
        if ahead_ms.unsigned_abs() <= APART_MS_MAX {
            return None;
        }
        *self = Self::new(Arc::clone(&self.clock));
        Some(ahead_ms)
    }
}
