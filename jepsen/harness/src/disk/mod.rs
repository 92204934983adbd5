//! The disk of one node: a plain folder, or a filesystem of its own whose power can be cut.

mod image;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;
use image::{Format, Image};

/// Keeps other data from fitting.
const BALLAST: &str = "ballast";

/// What a node's data lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// A folder of the run. It survives every kill, so it proves nothing about durability.
    Folder,
    /// An ext4 filesystem in a loop image of this many bytes, kept in memory. Needs root.
    Image {
        /// Its size.
        bytes: u64,
    },
    /// The same with XFS, which wants 300 MB at least.
    Xfs {
        /// Its size.
        bytes: u64,
    },
}

impl DiskKind {
    /// An image with room for any test that does not want to fill it. Unwritten space costs nothing.
    pub const ROOMY: Self = Self::Image { bytes: 2 << 30 };
    /// The same with XFS.
    pub const ROOMY_XFS: Self = Self::Xfs { bytes: 2 << 30 };
}

/// The disk of one node. Dropping it unmounts and removes an image.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    image: Option<Image>,
}

impl Disk {
    /// Makes an empty disk. `root` is where it appears, `fast` is where an image is kept.
    ///
    /// # Errors
    /// If the machine refuses, which it does for images without root.
    pub fn make(kind: DiskKind, root: PathBuf, fast: &Path) -> Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let image = match kind {
            DiskKind::Folder => None,
            DiskKind::Image { bytes } => Some(Image::make(fast, &root, bytes, Format::Ext4)?),
            DiskKind::Xfs { bytes } => Some(Image::make(fast, &root, bytes, Format::Xfs)?),
        };
        Ok(Self { root, image })
    }

    /// The node's data folder.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Cuts the power: what was not synced is gone. The node must be killed before [`Disk::restore_power`].
    ///
    /// # Errors
    /// On a plain folder, or if the filesystem still takes writes afterwards.
    pub fn cut_power(&self) -> Result<()> {
        self.image()?.cut_power()
    }

    /// Mounts what was synced. There is no repair run: the filesystem replays its journal, the node its log.
    ///
    /// # Errors
    /// If something still uses the disk, or it cannot be mounted.
    pub fn restore_power(&self) -> Result<()> {
        self.image()?.remount()
    }

    /// Refuses every write from now on, as an ext4 filesystem does after an error of its device. The node must be
    /// down before [`Disk::restore_power`] makes it writable again.
    ///
    /// # Errors
    /// On a plain folder or another filesystem, or if it still takes writes afterwards.
    pub fn turn_read_only(&self) -> Result<()> {
        self.image()?.turn_read_only()
    }

    /// Takes all space but this much.
    ///
    /// # Errors
    /// On a plain folder, or if the space cannot be taken.
    pub fn fill_but(&self, leave_bytes: u64) -> Result<()> {
        let free = self.image()?.free_bytes()?;
        let Some(take) = free.checked_sub(leave_bytes).filter(|take| *take > 0) else { return Ok(()) };
        let ballast = self.root.join(BALLAST);
        shell::run("fallocate", &["-l", &take.to_string(), &ballast.to_string_lossy()]).map(drop)
    }

    /// Takes space until this share of the disk is in use.
    ///
    /// # Errors
    /// As [`Disk::fill_but`].
    pub fn fill_to_percent(&self, percent: u64) -> Result<()> {
        let total = self.image()?.total_bytes()?;
        self.fill_but(total / 100 * (100 - percent.min(100)))
    }

    /// Gives the space back that was taken.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn drop_ballast(&self) -> Result<()> {
        match fs::remove_file(self.root.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes all data, as a new disk in the same slot would. The node must be down.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
        }
        Ok(())
    }

    /// Copies the data of an image to where it outlives the run.
    ///
    /// # Errors
    /// If the copy fails; a plain folder is where it should be already.
    pub fn save_to(&self, folder: &Path) -> Result<()> {
        if self.image.is_none() || !self.data().exists() {
            return Ok(());
        }
        let (from, to) = (self.data(), folder.to_string_lossy().into_owned());
        shell::run("cp", &["-a", "--sparse=always", &from.to_string_lossy(), &to]).map(drop)
    }

    fn image(&self) -> Result<&Image> {
        match &self.image {
            Some(image) => Ok(image),
            None => bail!("a plain folder has no power to cut and no size to fill"),
        }
    }
}
