//! Watches the disk: at the watermark publishing stops, in time for trim and recovery to go on.

use std::path::PathBuf;
use std::time::Duration;

use super::Keeper;

const EVERY: Duration = Duration::from_millis(500);

/// The space of the disk under the data folder.
pub(crate) trait DiskSpace: Send + Sync + 'static {
    /// Total and free bytes. `None` where it cannot be told.
    fn total_and_free(&self) -> Option<(u64, u64)>;
}

/// As the file system says.
pub(crate) struct FileSystem(pub(crate) PathBuf);

impl DiskSpace for FileSystem {
    #[allow(unsafe_code)]
    fn total_and_free(&self) -> Option<(u64, u64)> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(self.0.as_os_str().as_bytes()).ok()?;
        // SAFETY: a zeroed statvfs is a valid out parameter, and the path is a C string that outlives the call.
        let stat = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(path.as_ptr(), &mut stat) == 0).then_some(stat)?
        };
        Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    }
}

/// A disk without end, for simulations.
pub(crate) struct Endless;

impl DiskSpace for Endless {
    fn total_and_free(&self) -> Option<(u64, u64)> {
        None
    }
}

pub(super) async fn keep(keeper: Keeper) {
    let mut was_full = false;
    loop {
        let full = keeper.is_full();
        if full != was_full {
            match full {
                true => tracing::warn!("the disk is at its watermark: publishing stops until space is freed"),
                false => tracing::info!("the disk is below its watermark again"),
            }
            was_full = full;
        }
        keeper.parts.clocks.set_disk_full(full);
        tokio::time::sleep(EVERY).await;
    }
}

impl Keeper {
    fn is_full(&self) -> bool {
        let Some((total, free)) = self.disk.total_and_free() else { return false };
        let used_percent = (total - free.min(total)) * 100 / total.max(1);
        // A small disk keeps a tenth free at the most: the absolute floor is for large ones.
        let floor = self.storage.free_bytes_min.min(total / 10);
        used_percent >= u64::from(self.storage.watermark_percent) || free < floor
    }
}
