//! One run: its number, its folder, and the file that tells other runs whose the leftovers are.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{sweep, syscall};

/// What a run leaves in the registry, so that a sweep can tell the living from the dead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) number: u16,
    pub(crate) pid: u32,
    /// When that process began, in clock ticks since boot: a pid alone may have been given again.
    pub(crate) began: u64,
    pub(crate) folder: PathBuf,
    pub(crate) fast: PathBuf,
}

/// A run of the harness. Dropping it removes what it made, save for kept evidence.
#[derive(Debug)]
pub struct Run {
    entry: Entry,
    file: PathBuf,
    keep: AtomicBool,
}

impl Run {
    /// Sweeps up after dead runs and claims a number that no living run has.
    ///
    /// # Errors
    /// If neither the registry nor the run's folders can be made.
    pub fn begin(name: &str) -> Result<Self> {
        let registry = registry()?;
        for problem in sweep::sweep(&registry) {
            eprintln!("sweep: {problem}");
        }
        let (number, file, mut handle) = claim(&registry)?;
        let folder = base().join(format!("{name}-{number:04x}-{}", std::process::id()));
        let fast = PathBuf::from(format!("/dev/shm/meridian-jepsen-{number:04x}"));
        let pid = std::process::id();
        let began = began(pid).unwrap_or_default();
        let entry = Entry { number, pid, began, folder, fast };
        handle.write_all(&serde_json::to_vec(&entry)?)?;
        fs::create_dir_all(&entry.folder).with_context(|| format!("making {}", entry.folder.display()))?;
        Ok(Self { entry, file, keep: AtomicBool::new(false) })
    }

    /// The number, unique among living runs: addresses and names are made of it.
    pub fn number(&self) -> u16 {
        self.entry.number
    }

    /// Where everything of this run lies: logs, configuration, data, history.
    pub fn folder(&self) -> &Path {
        &self.entry.folder
    }

    /// A folder in memory, for disk images.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn fast_folder(&self) -> Result<&Path> {
        fs::create_dir_all(&self.entry.fast)
            .with_context(|| format!("making {}", self.entry.fast.display()))?;
        Ok(&self.entry.fast)
    }

    /// Keeps the folder as evidence.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Whether the folder is kept.
    pub fn is_kept(&self) -> bool {
        self.keep.load(Ordering::Relaxed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.entry.fast);
        if !self.is_kept() {
            let _ = fs::remove_dir_all(&self.entry.folder);
        }
        let _ = fs::remove_file(&self.file);
    }
}

/// Where runs keep their folders: `MERIDIAN_JEPSEN_DIR` or the temporary directory.
fn base() -> PathBuf {
    let chosen = std::env::var_os("MERIDIAN_JEPSEN_DIR").map(PathBuf::from);
    chosen.unwrap_or_else(|| std::env::temp_dir().join("meridian-jepsen"))
}

/// The registry of runs: one for the machine where we may write there.
pub(crate) fn registry() -> Result<PathBuf> {
    let shared = PathBuf::from("/run/meridian-jepsen");
    let folder = if syscall::is_root() { shared } else { std::env::temp_dir().join("meridian-jepsen-runs") };
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn claim(registry: &Path) -> Result<(u16, PathBuf, fs::File)> {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    for _ in 0..1000 {
        let number = rand::random::<u16>();
        let (high, low) = (number >> 8, number & 0xff);
        // 127.0.x is everybody's, and a subnet that is routed elsewhere is not ours to take.
        let taken = routes.contains(&format!("{low:02X}{high:02X}0A"));
        if high == 0 || high == 255 || taken {
            continue;
        }
        let file = registry.join(format!("{number:04x}.json"));
        match OpenOptions::new().write(true).create_new(true).open(&file) {
            Ok(handle) => return Ok((number, file, handle)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", file.display())),
        }
    }
    bail!("no free run number in {}", registry.display())
}

/// When a process began, in clock ticks since boot; none if there is no such process.
pub(crate) fn began(pid: u32) -> Option<u64> {
    stat_field(pid, 19)?.parse().ok()
}

/// The state letter of a process: `T` when it is stopped.
pub(crate) fn state(pid: u32) -> Option<char> {
    stat_field(pid, 0)?.chars().next()
}

/// A field of `/proc/PID/stat`, counted from the state on.
fn stat_field(pid: u32, nth: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(nth).map(str::to_owned)
}
