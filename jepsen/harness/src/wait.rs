//! Waiting for a condition, never for a guess at how long it takes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use meridian_workload::wait::until;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(2);

/// The same for conditions that need no runtime.
///
/// # Errors
/// As [`until`].
pub fn until_blocking<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if begun.elapsed() >= within {
            bail!("waited {:.1} s in vain for {what}", within.as_secs_f64());
        }
        std::thread::sleep(EVERY);
    }
}
