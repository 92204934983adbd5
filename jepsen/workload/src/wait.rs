//! Waiting for a condition, never for a guess at how long it takes.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Looks at a condition until it yields something. Dropped, it stops looking.
///
/// # Errors
/// If it does not within the time; the error says what was awaited.
pub async fn until<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if begun.elapsed() >= within {
            bail!("waited {:.1} s in vain for {what}", within.as_secs_f64());
        }
        tokio::time::sleep(EVERY).await;
    }
}
