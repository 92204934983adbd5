//! Removing what dead runs left behind: namespaces, links, mounts, loop devices, folders. Never a living run's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::cluster;
use crate::net::names;
use crate::run::{self, Entry};
use crate::shell;

/// A registry file that cannot be read counts as being written for this long.
const BEING_WRITTEN: Duration = Duration::from_secs(60);

/// Sweeps the machine's registry. Returns what could not be removed.
///
/// # Errors
/// If there is no registry.
pub fn sweep_all() -> Result<Vec<String>> {
    Ok(sweep(&run::registry()?))
}

pub(crate) fn sweep(registry: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let Ok(files) = fs::read_dir(registry) else { return problems };
    for file in files.flatten().map(|file| file.path()) {
        let entry = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        let Some(entry) = entry else {
            if is_old(&file) {
                let _ = fs::remove_file(&file);
            }
            continue;
        };
        if run::began(entry.pid) == Some(entry.began) {
            continue;
        }
        if let Err(problem) = remove(&entry) {
            problems.push(format!("run {:04x}: {problem:#}", entry.number));
        } else {
            let _ = fs::remove_file(&file);
        }
    }
    problems
}

fn is_old(file: &Path) -> bool {
    let age = fs::metadata(file).ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
    age.is_some_and(|age| age > BEING_WRITTEN)
}

fn remove(entry: &Entry) -> Result<()> {
    remove_network(entry.number);
    dead_nodes(&entry.folder).for_each(cluster::forget_clock);
    for mountpoint in mounts_under(&[&entry.fast, &entry.folder]) {
        shell::run("umount", &[&mountpoint.to_string_lossy()])?;
    }
    for device in loop_devices_under(&entry.fast) {
        shell::run("losetup", &["-d", &device])?;
    }
    for folder in [&entry.fast, &entry.folder] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    Ok(())
}

/// The processes of a run's nodes, as far as they said who they are and are gone.
fn dead_nodes(folder: &Path) -> impl Iterator<Item = u32> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let ready = files.filter(|file| file.to_string_lossy().ends_with(".ready.json"));
    let told =
        ready.filter_map(|file| serde_json::from_slice::<serde_json::Value>(&fs::read(file).ok()?).ok());
    let pids = told.filter_map(|ready| u32::try_from(ready["pid"].as_u64()?).ok());
    pids.filter(|pid| run::began(*pid).is_none())
}

/// Removes every namespace and link that carries a run's number.
pub(crate) fn remove_network(number: u16) {
    let prefix = names::prefix(number);
    for namespace in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            let _ = shell::run("ip", &["netns", "del", &name]);
        }
    }
    // The kernel takes a dead namespace apart later, in its own time: links deleted by name are gone at once.
    for link in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = link.file_name().to_string_lossy().into_owned();
        if names::is_link_of(number, &name) {
            let _ = shell::run("ip", &["link", "del", &name]);
        }
    }
}

/// Mountpoints below these folders, the innermost first.
fn mounts_under(folders: &[&PathBuf]) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut found: Vec<PathBuf> =
        points.filter(|point| folders.iter().any(|folder| point.starts_with(folder))).collect();
    found.sort_by_key(|point| std::cmp::Reverse(point.as_os_str().len()));
    found
}

fn loop_devices_under(folder: &Path) -> Vec<String> {
    let listed = shell::run("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
    let prefix = folder.to_string_lossy().into_owned();
    let lines = listed.unwrap_or_default();
    let of_run = lines.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    of_run
        .filter(|(_, file)| file.trim().starts_with(&format!("{prefix}/")))
        .map(|(device, _)| device.to_owned())
        .collect()
}
