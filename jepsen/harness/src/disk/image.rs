//! A loop image with a filesystem, and its power switch.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{shell, syscall, wait};

/// How long the last user of a filesystem may take to let go of it.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// What an image is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Ext4,
    Xfs,
}

/// A mounted image. Dropping it unmounts it and removes the file.
#[derive(Debug)]
pub(super) struct Image {
    format: Format,
    file: PathBuf,
    device: String,
    mountpoint: PathBuf,
}

impl Image {
    pub(super) fn make(folder: &Path, mountpoint: &Path, bytes: u64, format: Format) -> Result<Self> {
        let name = mountpoint.file_name().map_or("disk".into(), |name| name.to_string_lossy().into_owned());
        let file = folder.join(format!("{name}.img"));
        let path = file.to_string_lossy().into_owned();
        File::create(&file)
            .and_then(|image| image.set_len(bytes))
            .with_context(|| format!("making {path}"))?;
        match format {
            Format::Ext4 => {
                let made = ["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1", &path];
                shell::run("mkfs.ext4", &made)?
            }
            Format::Xfs => shell::run("mkfs.xfs", &["-q", "-f", "-K", &path])?,
        };
        let device = shell::run("losetup", &["--find", "--show", &path])?.trim().to_owned();
        let image = Self { format, file, device, mountpoint: mountpoint.to_owned() };
        image.mount()?;
        Ok(image)
    }

    pub(super) fn cut_power(&self) -> Result<()> {
        syscall::cut_power(&self.mountpoint)
            .with_context(|| format!("cutting the power of {}", self.mountpoint.display()))?;
        match File::create(self.mountpoint.join("after-the-cut")) {
            Ok(_) => bail!("{} still takes writes after its power was cut", self.mountpoint.display()),
            Err(_) => Ok(()),
        }
    }

    /// Does what an error of the device does: from now on every write is refused, also on files that are open.
    pub(super) fn turn_read_only(&self) -> Result<()> {
        let name = self.device.rsplit('/').next().unwrap_or_default();
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(&trigger, "1").with_context(|| format!("writing {trigger}"))?;
        let refused = wait::until_blocking("a filesystem to turn read-only", RELEASE_MAX, || {
            File::create(self.mountpoint.join("after-the-error")).err()
        })?;
        match refused.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => Ok(()),
            _ => bail!("a write was refused with {refused}"),
        }
    }

    /// Mounts it anew. Where nodes have mounts of their own, those of one that was just killed go a moment later, and
    /// until then the same filesystem would be mounted once more, without power.
    pub(super) fn remount(&self) -> Result<()> {
        let mut failed = None;
        let fresh = wait::until_blocking("a filesystem to be mounted anew", RELEASE_MAX, || {
            let mounted = self.unmount().and_then(|()| self.mount()).and_then(|()| self.take_a_write());
            mounted.map_err(|error| failed = Some(error)).ok()
        });
        fresh.map_err(|error| match failed.take() {
            Some(failed) => failed.context(error),
            None => error,
        })
    }

    fn take_a_write(&self) -> Result<()> {
        let trial = self.mountpoint.join("trial");
        File::create(&trial).and_then(|_| fs::remove_file(&trial)).context("writing to a fresh mount")
    }

    pub(super) fn free_bytes(&self) -> Result<u64> {
        self.space("avail")
    }

    pub(super) fn total_bytes(&self) -> Result<u64> {
        self.space("size")
    }

    fn space(&self, column: &str) -> Result<u64> {
        let column = format!("--output={column}");
        let told = shell::run("df", &["-B1", &column, &self.mountpoint.to_string_lossy()])?;
        let number = told.lines().last().and_then(|line| line.trim().parse().ok());
        number.with_context(|| format!("df said {told:?}"))
    }

    fn mount(&self) -> Result<()> {
        let (kind, options) = match self.format {
            Format::Ext4 => ("ext4", "errors=remount-ro"),
            // Images may be copies of each other.
            Format::Xfs => ("xfs", "nouuid"),
        };
        let point = self.mountpoint.to_string_lossy();
        shell::run("mount", &["-t", kind, "-o", options, &self.device, &point]).map(drop)
    }

    fn unmount(&self) -> Result<()> {
        let point = self.mountpoint.to_string_lossy();
        let mut last = None;
        let released = wait::until_blocking("a disk to be released", RELEASE_MAX, || {
            shell::run("umount", &[&point]).map_err(|error| last = Some(error)).ok()
        });
        released.map(drop).map_err(|error| match last.take() {
            Some(last) => last.context(error),
            None => error,
        })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            let _ = shell::run("umount", &["--lazy", &self.mountpoint.to_string_lossy()]);
        }
        let _ = shell::run("losetup", &["-d", &self.device]);
        let _ = fs::remove_file(&self.file);
    }
}
