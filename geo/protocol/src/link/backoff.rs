//! How long to wait before connecting again.

/// Doubles with each failure, from `first_ms` up to `max_ms`, and is spread so that links do not return in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
    failures: u32,
}

impl Backoff {
    /// Waits between half of `first_ms` and `max_ms`.
    pub fn new(first_ms: u64, max_ms: u64) -> Self {
        Self { first_ms: first_ms.max(1), max_ms: max_ms.max(first_ms).max(1), failures: 0 }
    }

    /// The next wait, in milliseconds. `jitter` in `0.0..1.0` chooses between half of it and all of it.
    pub fn next_ms(&mut self, jitter: f64) -> u64 {
        let doubled = self.first_ms.saturating_mul(1 << self.failures.min(20));
        let wait = doubled.min(self.max_ms);
        self.failures = self.failures.saturating_add(1);
        let half = wait / 2;
        half.saturating_add(((wait - half) as f64 * jitter.clamp(0.0, 1.0)) as u64)
    }

    /// It worked: begin at the first wait again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
