//! The one clock of a history: nanoseconds that never go back, injected so that a simulation can own it.

use std::time::Instant;

/// A monotonic clock shared by every client of a run.
///
/// Times of one history are compared with each other, so they must come from one clock of one process.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an arbitrary start; never less than an earlier answer.
    fn now_ns(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync> Clock for F {
    fn now_ns(&self) -> u64 {
        self()
    }
}

/// The operating system's monotonic clock, counted from when this value was made.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// A clock that reads zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the real clock behind the port")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
