//! A harness that dies takes its nodes along, and the next one removes what it left, without touching the living.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_harness::arena::Plan;
use meridian_harness::disk::DiskKind;
use meridian_harness::run::Run;
use meridian_harness::{probe, sweep, wait};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_killed_harness_leaves_no_process_and_nothing_that_a_sweep_does_not_remove() -> Result<()> {
    let needs = Plan::new("sweep", 30).with_links().with_disks(DiskKind::ROOMY).needs;
    probe::require(&needs)?;
    let living = Run::begin("living")?;
    let mut harness = start()?;
    let registered = PathBuf::from("/run/meridian-jepsen");
    let pid = harness.id();
    let dead = wait::until_blocking("the other run to register", LONG, || of_pid(&registered, pid))?;
    let nodes = wait::until_blocking("its nodes to run", LONG, || {
        let nodes = children(pid);
        (nodes.len() == 3 && Path::new(&dead.1).join("node-3.ready.json").exists()).then_some(nodes)
    });
    harness.kill()?;
    harness.wait()?;
    for node in nodes? {
        let gone = || (!is_alive(node)).then_some(());
        wait::until_blocking("a node to die with its harness", LONG, gone)?;
    }
    let problems = sweep::sweep_all()?;
    ensure!(problems.is_empty(), "{problems:#?}");
    ensure!(!dead.0.exists() && !Path::new(&dead.1).exists(), "{} or its registration is left", dead.1);
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains(&dead.1), "mounts are left below {}", dead.1);
    let number = dead.0.file_stem().context("a registration has a name")?.to_string_lossy().into_owned();
    let namespaces = std::fs::read_dir("/run/netns")?.flatten();
    let left = namespaces.filter(|file| file.file_name().to_string_lossy().contains(&number)).count();
    ensure!(left == 0, "{left} namespaces of run {number} are left");
    ensure!(living.folder().exists(), "the sweep took a living run's folder");
    Ok(())
}

fn start() -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian-jepsen"));
    command.args(["run", "--faults", "partition,power", "--seconds", "600"]);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// The registration of a process's run, and the run's folder.
fn of_pid(registry: &Path, pid: u32) -> Option<(PathBuf, String)> {
    let files = std::fs::read_dir(registry).ok()?.flatten().map(|file| file.path());
    let entries = files.filter_map(|file| {
        let entry: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        let folder = entry["folder"].as_str()?.to_owned();
        (entry["pid"].as_u64() == Some(u64::from(pid)) && folder.contains("/run-")).then_some((file, folder))
    });
    entries.into_iter().next()
}

/// Children of any thread of a process that run the program under test.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = lists.flat_map(|list| parse(&list)).collect();
    pids.into_iter().filter(|pid| command_of(*pid).contains("serve")).collect()
}

fn parse(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn command_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// A zombie that nobody has reaped yet is dead.
fn is_alive(pid: u32) -> bool {
    command_of(pid).contains("serve")
}
