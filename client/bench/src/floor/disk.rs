//! The disk itself: how long a sync takes, how fast bytes go.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::BenchError;
use crate::failure::local;
use crate::latency::{Latency, Percentiles};

/// Bytes of a small write.
const SMALL: usize = 4 * 1024;
/// Bytes of a large write.
const LARGE: usize = 1024 * 1024;
/// Where sequential writing begins anew, so that it takes no more of the disk.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The disk's floor.
#[derive(Debug, Serialize)]
pub(super) struct DiskFloor {
    /// A small append and its fdatasync: what a log does.
    pub(super) append_sync: Percentiles,
    /// A small write over bytes that are there, and its fdatasync: no change of the file's length.
    pub(super) overwrite_sync: Percentiles,
    /// Large writes one after the other, the sync at the end included.
    pub(super) write_mb_per_s: f64,
}

pub(super) fn measure(folder: &Path, each: Duration) -> Result<DiskFloor, BenchError> {
    let failed = local("measure the disk");
    let append_sync = small_writes(&create(folder, "append")?, each / 2, |number| number).map_err(&failed)?;
    let over = create(folder, "overwrite")?;
    over.write_all_at(&vec![7; LARGE], 0).and_then(|()| over.sync_all()).map_err(&failed)?;
    let blocks = (LARGE / SMALL) as u64;
    let overwrite_sync = small_writes(&over, each / 2, |number| number % blocks).map_err(&failed)?;
    let write_mb_per_s = large_writes(&create(folder, "sequential")?, each).map_err(&failed)?;
    for name in ["append", "overwrite", "sequential"] {
        std::fs::remove_file(folder.join(name)).map_err(&failed)?;
    }
    Ok(DiskFloor { append_sync, overwrite_sync, write_mb_per_s })
}

fn create(folder: &Path, name: &str) -> Result<File, BenchError> {
    let path = folder.join(name);
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    file.map_err(local(&format!("make {}", path.display())))
}

fn small_writes(file: &File, each: Duration, place: impl Fn(u64) -> u64) -> std::io::Result<Percentiles> {
    let block = [5; SMALL];
    let (mut latency, begin) = (Latency::new(), Instant::now());
    for number in 0.. {
        let began = Instant::now();
        file.write_all_at(&block, place(number) * SMALL as u64)?;
        file.sync_data()?;
        latency.record(began.elapsed());
        if begin.elapsed() >= each {
            break;
        }
    }
    Ok(latency.percentiles())
}

fn large_writes(file: &File, each: Duration) -> std::io::Result<f64> {
    let block = vec![5; LARGE];
    let (begin, mut written) = (Instant::now(), 0u64);
    while begin.elapsed() < each {
        file.write_all_at(&block, written % FILE_BYTES_MAX)?;
        written += LARGE as u64;
        if written.is_multiple_of(FILE_BYTES_MAX) {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    Ok(written as f64 / begin.elapsed().as_secs_f64() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_measured_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let floor = measure(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(floor.append_sync.count > 0 && floor.overwrite_sync.count > 0, "{floor:?}");
        assert!(floor.write_mb_per_s > 0.0, "{floor:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
