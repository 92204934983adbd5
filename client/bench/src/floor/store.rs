//! The storage engine alone: synced writes, as fast as possible or on a schedule.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use crate::BenchError;
use crate::latency::{Latency, Percentiles};
use crate::random::Words;

/// Random bytes that writes are slices of.
const POOL_BYTES: usize = 16 * 1024 * 1024;

/// An engine under measurement. Dropping it closes it.
pub trait Store {
    /// Writes one log entry; it is on the disk when this returns. `Err`: why not.
    fn write_synced(&self, number: u64, body: Bytes) -> Result<(), String>;
}

/// Opens an engine in a folder. `Err`: why not.
pub type OpenStore = fn(&Path) -> Result<Box<dyn Store>, String>;

/// The engine's floor for one size of write.
#[derive(Debug, Serialize)]
pub(super) struct StoreFloor {
    pub(super) batch_bytes: usize,
    /// On a schedule: the bytes asked for. Latency then counts from the intended time.
    pub(super) asked_mb_per_s: Option<f64>,
    pub(super) mb_per_s: f64,
    pub(super) latency: Percentiles,
}

/// Writes one after the other.
pub(super) fn fastest(
    open: OpenStore,
    folder: &Path,
    batch: usize,
    takes: Duration,
) -> Result<StoreFloor, BenchError> {
    measure(open, folder, batch, takes, None)
}

/// Writes on a schedule of `rate` bytes a second.
pub(super) fn paced(
    open: OpenStore,
    folder: &Path,
    batch: usize,
    rate: usize,
    takes: Duration,
) -> Result<StoreFloor, BenchError> {
    measure(open, folder, batch, takes, Some(rate))
}

fn measure(
    open: OpenStore,
    folder: &Path,
    batch: usize,
    takes: Duration,
    rate: Option<usize>,
) -> Result<StoreFloor, BenchError> {
    let failed = |error: String| BenchError::Local(format!("the storage engine: {error}"));
    let store = open(folder).map_err(failed)?;
    let pool = pool();
    let (mut latency, begin, mut written) = (Latency::new(), Instant::now(), 0u64);
    for number in 0.. {
        let now = Instant::now();
        let due = match rate {
            None => now,
            Some(rate) => begin + Duration::from_secs_f64(number as f64 * batch as f64 / rate as f64),
        };
        if due.max(now) >= begin + takes {
            break;
        }
        if due > now {
            std::thread::sleep(due - now);
        }
        store.write_synced(number, slice(&pool, number, batch)).map_err(failed)?;
        latency.record(due.elapsed());
        written += batch as u64;
    }
    let mb_per_s = written as f64 / begin.elapsed().as_secs_f64() / 1e6;
    drop(store);
    std::fs::remove_dir_all(folder).map_err(crate::failure::local("delete the engine's folder"))?;
    let asked_mb_per_s = rate.map(|rate| rate as f64 / 1e6);
    Ok(StoreFloor { batch_bytes: batch, asked_mb_per_s, mb_per_s, latency: latency.percentiles() })
}

fn pool() -> Bytes {
    let mut words = Words::of(1);
    let words = std::iter::repeat_with(|| words.next_word().to_le_bytes());
    words.take(POOL_BYTES / 8).flatten().collect::<Vec<u8>>().into()
}

/// Other bytes for each write, as long as the pool lasts.
fn slice(pool: &Bytes, number: u64, bytes: usize) -> Bytes {
    if bytes > pool.len() / 2 {
        return pool.iter().copied().cycle().take(bytes).collect();
    }
    let from = (number as usize).wrapping_mul(bytes + 4_099) % (pool.len() - bytes);
    pool.slice(from..from + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow;

    impl Store for Slow {
        fn write_synced(&self, number: u64, body: Bytes) -> Result<(), String> {
            assert_eq!(body.len(), 1000);
            let stall = if number == 5 { 50 } else { 0 };
            std::thread::sleep(Duration::from_millis(stall));
            Ok(())
        }
    }

    fn open(folder: &Path) -> Result<Box<dyn Store>, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        Ok(Box::new(Slow))
    }

    #[test]
    fn a_stall_counts_for_every_write_that_was_due_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("store");
        let found = paced(open, &folder, 1000, 1_000_000, Duration::from_millis(200)).unwrap();
        assert!(found.latency.count >= 190, "{found:?}");
        // Fifty writes of two hundred were late, the last of them hardly: not only the one that stalled.
        assert!(found.latency.p90_us > 15_000.0, "{found:?}");
        assert!(!folder.exists());
    }

    #[test]
    fn large_writes_are_as_large_as_asked() {
        let pool = pool();
        for bytes in [1, 4096, POOL_BYTES, POOL_BYTES + 1] {
            assert_eq!(slice(&pool, 77, bytes).len(), bytes);
        }
    }
}
