//! What was set aside in a data folder, and which of it can still be put back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{CONDEMNED, IDENTITY};

const QUARANTINE: &str = "quarantine-";
pub(super) const REJOINING: &str = "REJOINING";

/// Sets aside what an interrupted quarantine, or an interrupted restoration, left without an identity. Returns
/// whether the folder had a life before: then the one that begins now may only join.
pub(super) fn finish_quarantine(path: &Path) -> io::Result<bool> {
    let lives: Vec<PathBuf> =
        quarantines(path)?.into_iter().map(|(_, aside)| aside).filter(|aside| has_identity(aside)).collect();
    let (engine, bare) =
        (path.join("engine"), lives.iter().rev().find(|aside| !aside.join("engine").exists()));
    if let Some(aside) = bare.filter(|_| engine.exists()) {
        fs::rename(&engine, aside.join("engine"))?;
    }
    if !lives.is_empty() {
        forget(&path.join(CONDEMNED))?;
    }
    Ok(!lives.is_empty())
}

fn has_identity(aside: &Path) -> bool {
    aside.join(IDENTITY).exists()
}

/// Everything that was set aside, by number.
pub fn quarantines(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = fs::read_dir(path)?.flatten();
    let numbered = entries.filter_map(|entry| Some((quarantine_number(&entry.file_name())?, entry.path())));
    let mut found: Vec<_> = numbered.collect();
    found.sort();
    Ok(found)
}

/// A new folder for what is set aside.
pub fn new_quarantine(path: &Path) -> io::Result<PathBuf> {
    let last = quarantines(path)?.last().map_or(0, |(number, _)| *number);
    let aside = path.join(format!("{QUARANTINE}{}", last + 1));
    fs::create_dir(&aside)?;
    File::open(path)?.sync_all()?;
    Ok(aside)
}

/// The number of a folder with things set aside.
pub(super) fn quarantine_number(name: &std::ffi::OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix(QUARANTINE)?.parse().ok()
}

/// Up to which number what was set aside is of no use to the cluster, which was asked for new copies instead.
pub fn replaced_through(path: &Path) -> Option<u64> {
    fs::read_to_string(path.join(REJOINING)).ok()?.trim().parse().ok()
}

/// Whether this life has asked the cluster for new copies, or may: all the lives before it are replaced.
pub fn is_rejoining(path: &Path) -> bool {
    replaced_through(path) >= Some(last_life(path).unwrap_or(0))
}

/// Remembers that, before it is done.
pub fn note_rejoining(path: &Path) -> io::Result<()> {
    let through = last_life(path)?;
    let beside = path.join("REJOINING.new");
    fs::write(&beside, format!("{through}\n"))?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, path.join(REJOINING))?;
    File::open(path)?.sync_all()
}

/// The number of the last life that was set aside; 0: none was.
fn last_life(path: &Path) -> io::Result<u64> {
    let lives = quarantines(path)?.into_iter().filter(|(_, aside)| has_identity(aside));
    Ok(lives.map(|(number, _)| number).max().unwrap_or(0))
}

pub(super) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
