//! What this machine can do: every fault is tried once, for real, before a run relies on it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::disk::{Disk, DiskKind};
use crate::net::{Network, Peer, Placement};
use crate::run::Run;
use crate::{shell, shim, syscall};

/// Something a run may need of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Being root.
    Root,
    /// Network namespaces, veth and bridges.
    Namespaces,
    /// Packet filters within them.
    Filters,
    /// Loop devices with ext4.
    LoopDisk,
    /// Cutting the power of a filesystem so that unsynced writes vanish.
    PowerLoss,
    /// The same with XFS.
    XfsPowerLoss,
    /// A filesystem that turns read-only under its user.
    ReadOnly,
    /// A C compiler, for the library that makes syncs lie.
    Lies,
    /// A disk that can be filled.
    DiskFull,
    /// libfaketime, to move one node's clock.
    Clock,
}

impl Capability {
    /// All of them, in the order in which they build on each other.
    pub const ALL: [Self; 10] = [
        Self::Root,
        Self::Namespaces,
        Self::Filters,
        Self::LoopDisk,
        Self::PowerLoss,
        Self::XfsPowerLoss,
        Self::ReadOnly,
        Self::Lies,
        Self::DiskFull,
        Self::Clock,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Namespaces => "namespaces",
            Self::Filters => "packet filters",
            Self::LoopDisk => "loop disk (ext4)",
            Self::PowerLoss => "power loss",
            Self::XfsPowerLoss => "power loss (XFS)",
            Self::ReadOnly => "read-only disk",
            Self::Lies => "lying syncs (cc)",
            Self::DiskFull => "disk full",
            Self::Clock => "clock (libfaketime)",
        }
    }

    fn proves(self) -> &'static str {
        match self {
            Self::Root => "everything below",
            Self::Namespaces => "partitions",
            Self::Filters => "partitions, one-way ones too",
            Self::LoopDisk => "power loss, disk full",
            Self::PowerLoss => "durability: without it, it is NOT proved",
            Self::XfsPowerLoss => "durability on a second filesystem",
            Self::ReadOnly => "a clear end of a node whose disk refuses writes",
            Self::Lies => "that a loss of synced writes would be found",
            Self::DiskFull => "refusal of publishes before the disk is full",
            Self::Clock => "retention under a clock that jumps",
        }
    }
}

/// The machine's answers.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    answers: Vec<(Capability, Result<(), String>)>,
}

impl Probe {
    /// Tries everything.
    ///
    /// # Errors
    /// If not even a run can be begun.
    pub fn take() -> Result<Self> {
        let run = Run::begin("probe")?;
        let answer =
            |capability| (capability, attempt(capability, &run).map_err(|error| format!("{error:#}")));
        Ok(Self { answers: Capability::ALL.into_iter().map(answer).collect() })
    }

    /// Why something is missing; none if it works.
    pub fn missing(&self, capability: Capability) -> Option<&str> {
        let found = self.answers.iter().find(|(asked, _)| *asked == capability);
        found.and_then(|(_, answer)| answer.as_ref().err().map(String::as_str))
    }

    /// Whether everything works.
    pub fn is_complete(&self) -> bool {
        self.answers.iter().all(|(_, answer)| answer.is_ok())
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22}{:<9}{:<50}detail", "capability", "works", "proves")?;
        for (capability, answer) in &self.answers {
            let works = if answer.is_ok() { "yes" } else { "NO" };
            let detail = answer.as_ref().err().map_or("", String::as_str);
            writeln!(f, "{:<22}{works:<9}{:<50}{detail}", capability.name(), capability.proves())?;
        }
        Ok(())
    }
}

/// Whether this is a run of continuous integration, where nothing weaker than power loss will do.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Fails unless the machine can do all of it.
///
/// # Errors
/// Names what is missing and why.
pub fn require(needed: &[Capability]) -> Result<()> {
    if needed.is_empty() {
        return Ok(());
    }
    let run = Run::begin("probe")?;
    for capability in needed {
        attempt(*capability, &run)
            .with_context(|| format!("this run needs {:?}, which this machine lacks", capability.name()))?;
    }
    Ok(())
}

/// The library that moves a node's clock.
///
/// # Errors
/// If it is not installed.
pub fn faketime_library() -> Result<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let files = places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1"));
    files
        .into_iter()
        .find(|file| file.exists())
        .context("libfaketimeMT.so.1 is not installed (package faketime)")
}

fn attempt(capability: Capability, run: &Run) -> Result<()> {
    let disk = |name: &str| {
        Disk::make(DiskKind::Image { bytes: 64 << 20 }, run.folder().join(name), run.fast_folder()?)
    };
    match capability {
        Capability::Root if syscall::is_root() => Ok(()),
        Capability::Root => bail!("run as root"),
        Capability::Namespaces => Network::make(run.number(), Placement::Namespaces, 1).map(drop),
        Capability::Filters => {
            let network = Network::make(run.number(), Placement::Namespaces, 2)?;
            network.cut(&[(Peer::Node(2), 1)])?;
            network.dropped().map(drop)
        }
        Capability::LoopDisk => disk("loop").map(drop),
        Capability::PowerLoss => lose_power(&disk("power")?),
        Capability::XfsPowerLoss => {
            let kind = DiskKind::Xfs { bytes: 512 << 20 };
            lose_power(&Disk::make(kind, run.folder().join("xfs"), run.fast_folder()?)?)
        }
        Capability::ReadOnly => disk("read-only")?.turn_read_only(),
        Capability::Lies => shim::build(run.folder()).map(drop),
        Capability::DiskFull => {
            let disk = disk("full")?;
            disk.fill_but(0)?;
            match std::fs::write(disk.data(), vec![0u8; 1 << 20]) {
                Ok(()) => bail!("a full disk took another megabyte"),
                Err(_) => Ok(()),
            }
        }
        Capability::Clock => {
            let library = faketime_library()?;
            let preload = format!("LD_PRELOAD={}", library.display());
            let year = shell::run("env", &[&preload, "FAKETIME=+3650d", "date", "+%Y"])?;
            let now = shell::run("date", &["+%Y"])?;
            if year == now { bail!("the clock did not move") } else { Ok(()) }
        }
    }
}

/// What was synced must be there afterwards, what was not must be gone.
fn lose_power(disk: &Disk) -> Result<()> {
    let (kept, lost) = (disk.data().with_extension("kept"), disk.data().with_extension("lost"));
    std::fs::write(&kept, b"synced")?;
    std::fs::File::open(&kept)?.sync_all()?;
    std::fs::File::open(kept.parent().context("a file has a folder")?)?.sync_all()?;
    std::fs::write(&lost, b"not synced")?;
    disk.cut_power()?;
    disk.restore_power()?;
    match (std::fs::read(&kept), lost.exists()) {
        (Ok(bytes), false) if bytes == b"synced" => Ok(()),
        (Ok(_), true) => bail!("a write that was not synced survived"),
        (other, _) => bail!("a synced write came back as {other:?}"),
    }
}
