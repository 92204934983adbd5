//! Flipping bits in the files of a node that is down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::wal;
use crate::chance::Chance;

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// A payload byte of a record in the middle of the write-ahead log.
    WalPayload,
    /// The length of a record in the middle of the write-ahead log.
    WalLength,
    /// A payload byte in the last 32 KiB block of the write-ahead log.
    WalLastPayload,
    /// The length of a record in the last block: what RocksDB takes for the end of the log.
    WalLastLength,
    /// A byte of a table.
    Table,
    /// A byte of a blob file, where the messages lie.
    Blob,
}

impl Damage {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::WalPayload,
        Self::WalLength,
        Self::WalLastPayload,
        Self::WalLastLength,
        Self::Table,
        Self::Blob,
    ];

    /// Its name in histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalPayload => "flip-wal-payload",
            Self::WalLength => "flip-wal-length",
            Self::WalLastPayload => "flip-wal-last-payload",
            Self::WalLastLength => "flip-wal-last-length",
            Self::Table => "flip-table",
            Self::Blob => "flip-blob",
        }
    }
}

/// What was done to which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injury {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// The byte.
    pub at: usize,
    /// The bit, from 0.
    pub bit: u8,
}

/// Flips one bit under `data`.
///
/// # Errors
/// If there is no file of that kind, or nothing in it to flip.
pub fn injure(data: &Path, damage: Damage, chance: &mut Chance) -> Result<Injury> {
    let extension = match damage {
        Damage::Table => "sst",
        Damage::Blob => "blob",
        _ => "log",
    };
    let file = largest(data, extension)?;
    let mut bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let (at, bit) = match damage {
        // The first half of a table or blob file is data; its end holds indexes and the footer.
        Damage::Table | Damage::Blob => {
            let at = chance.between(bytes.len() as u64 / 8, bytes.len() as u64 / 2);
            (at as usize, chance.between(0, 7) as u8)
        }
        _ => in_wal(&bytes, damage, chance).with_context(|| format!("in {}", file.display()))?,
    };
    let byte = bytes.get_mut(at).context("the file is empty")?;
    *byte ^= 1 << bit;
    fs::write(&file, &bytes)?;
    fs::File::open(&file)?.sync_all()?;
    Ok(Injury { bytes: bytes.len(), file, at, bit })
}

fn in_wal(bytes: &[u8], damage: Damage, chance: &mut Chance) -> Result<(usize, u8)> {
    let records = wal::records(bytes);
    let last_block = records.last().context("it holds no records")?.block();
    let in_last = matches!(damage, Damage::WalLastPayload | Damage::WalLastLength);
    // In the middle means: not the last block, and not the very beginning.
    let eligible: Vec<&wal::Record> = match in_last {
        true => records.iter().filter(|record| record.block() == last_block).collect(),
        false => records.iter().filter(|record| record.block() < last_block).skip(3).collect(),
    };
    if eligible.is_empty() {
        bail!("{} records up to block {last_block}: none fits {damage:?}", records.len());
    }
    let record = chance.pick(&eligible);
    match damage {
        // A high bit of the length: the record seems to reach beyond its block.
        Damage::WalLength | Damage::WalLastLength => Ok((record.length_at() + 1, 6)),
        _ => Ok((record.payload_middle().context("an empty record")?, chance.between(0, 7) as u8)),
    }
}

/// The largest file below a folder with this extension; among write-ahead logs that is the one with most to lose.
fn largest(folder: &Path, extension: &str) -> Result<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("listing {}", next.display()))?;
        for entry in entries.flatten() {
            let (path, meta) = (entry.path(), entry.metadata()?);
            if meta.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) && is_rocksdb(&path) {
                found.push((meta.len(), path));
            }
        }
    }
    let largest = found.into_iter().max().filter(|(bytes, _)| *bytes > 0);
    largest.map(|(_, path)| path).with_context(|| format!("no .{extension} file below {}", folder.display()))
}

/// RocksDB names its files by number; other logs are of no interest.
fn is_rocksdb(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
}
