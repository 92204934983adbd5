//! One node: its disk, its files, and its process when it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::config::NodeConfig;
use super::process::{Exit, Process, tail};
use super::setup::{Member, Setup};
use crate::disk::Disk;
use crate::{probe, shim, wait};

/// How long a stop may take to show.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long an orderly shutdown may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// A node of the cluster under test.
#[derive(Debug)]
pub struct Node {
    member: Member,
    folder: PathBuf,
    netns: Option<PathBuf>,
    env: Vec<(String, String)>,
    disk: Disk,
    process: Option<Process>,
    last_exit: Option<Exit>,
    /// Whether the harness itself ended the process.
    ended_by_us: bool,
    starts: u32,
}

/// What a node writes once it listens.
#[derive(Debug, Deserialize)]
struct Ready {
    pid: u32,
}

impl Node {
    /// Writes the node's files; nothing runs yet.
    ///
    /// # Errors
    /// If they cannot be written, or clocks are to be movable and the library for it is missing.
    pub fn make(
        member: &Member,
        founders: &[Member],
        setup: &Setup,
        folder: &Path,
        netns: Option<PathBuf>,
        disk: Disk,
    ) -> Result<Self> {
        let mut node = Self {
            member: member.clone(),
            folder: folder.to_owned(),
            netns,
            env: vec![("RUST_BACKTRACE".into(), "1".into())],
            disk,
            process: None,
            last_exit: None,
            ended_by_us: false,
            starts: 0,
        };
        let config = NodeConfig::of(member, founders, setup, node.disk.data(), node.file("ready.json"));
        fs::write(node.file("toml"), toml::to_string(&config)?)?;
        if setup.movable_clocks {
            node.set_clock("+0")?;
            let library = probe::faketime_library()?.to_string_lossy().into_owned();
            let clock = node.file("clock").to_string_lossy().into_owned();
            node.env.extend([
                ("LD_PRELOAD".into(), library),
                ("FAKETIME_TIMESTAMP_FILE".into(), clock),
                ("FAKETIME_NO_CACHE".into(), "1".into()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
            ]);
        }
        if setup.may_lie {
            let library = shim::build(folder)?.to_string_lossy().into_owned();
            let file = node.file("lies").to_string_lossy().into_owned();
            node.env.extend([("LD_PRELOAD".into(), library), (shim::LIE_FILE.into(), file)]);
        }
        Ok(node)
    }

    /// From now on every sync of this node says that it is done, and is (or is not); only with syncs that may lie.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_lying(&self, lies: bool) -> Result<()> {
        let file = self.file("lies");
        match lies {
            true => fs::write(&file, "")?,
            false if file.exists() => fs::remove_file(&file)?,
            false => {}
        }
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.member.id
    }

    /// A file of this node in the run's folder.
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("node-{}.{suffix}", self.member.id))
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Starts the process. It listens when [`Node::is_ready`].
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("node {} runs already", self.id());
        }
        let _ = fs::remove_file(self.file("ready.json"));
        let (config, log) = (self.file("toml"), self.file("log"));
        self.ended_by_us = false;
        self.starts += 1;
        self.process = Some(Process::serve(&config, &log, self.netns.as_deref(), &self.env)?);
        Ok(())
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Whether the process that runs now has said that it listens.
    pub fn is_ready(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let ready = fs::read(self.file("ready.json")).ok();
        let ready = ready.and_then(|bytes| serde_json::from_slice::<Ready>(&bytes).ok());
        ready.is_some_and(|ready| ready.pid == process.pid())
    }

    /// Whether the process runs, stopped or not.
    pub fn is_running(&mut self) -> bool {
        if let Some(exit) = self.process.as_mut().and_then(Process::exit) {
            self.last_exit = Some(exit);
            self.process = None;
        }
        self.process.is_some()
    }

    /// Memory that the process has taken for itself, in bytes: without the program and files, of which the kernel
    /// may keep as much in memory as it likes.
    ///
    /// # Errors
    /// If it does not run.
    pub fn anonymous_bytes(&self) -> Result<u64> {
        let process = self.process.as_ref().context("it does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// How the last process ended, if it did so by itself.
    pub fn own_exit(&mut self) -> Option<Exit> {
        match self.is_running() || self.ended_by_us {
            true => None,
            false => self.last_exit.clone(),
        }
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.file("log"))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// If it did not run, or does not end.
    pub fn kill(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("it does not run")?;
        self.ended_by_us = true;
        process.kill()?;
        self.last_exit = process.exit();
        self.process = None;
        Ok(())
    }

    /// SIGTERM, and its exit.
    ///
    /// # Errors
    /// If it did not run, or does not end in time.
    pub fn shut_down(&mut self) -> Result<Exit> {
        let process = self.process.as_mut().context("it does not run")?;
        self.ended_by_us = true;
        process.signal(libc::SIGTERM)?;
        let exit = wait::until_blocking("an orderly shutdown", SHUTDOWN_MAX, || process.exit())?;
        self.last_exit = Some(exit.clone());
        self.process = None;
        Ok(exit)
    }

    /// SIGSTOP, and stopped when this returns.
    ///
    /// # Errors
    /// If it does not run or does not stop.
    pub fn pause(&mut self) -> Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        process.signal(libc::SIGSTOP)?;
        wait::until_blocking("a process to stop", STOP_MAX, || process.is_stopped().then_some(()))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it does not run or does not go on.
    pub fn resume(&mut self) -> Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        process.signal(libc::SIGCONT)?;
        wait::until_blocking("a process to go on", STOP_MAX, || (!process.is_stopped()).then_some(()))
    }

    /// Moves the wall clock by something like `+365d`; only with movable clocks.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_clock(&self, offset: &str) -> Result<()> {
        let (next, clock) = (self.file("clock.next"), self.file("clock"));
        fs::write(&next, format!("{offset}\n"))?;
        fs::rename(&next, &clock).with_context(|| format!("writing {}", clock.display()))
    }
}
