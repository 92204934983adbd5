//! Many seeds side by side, each in a process of its own, and the figures over all of them.
//!
//! A process each, because libraries count things per process: the order in which a runtime drops its tasks
//! follows from numbers that all runtimes of a process share.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::outcome::Outcome;
use crate::run::Spec;

/// The figures over many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Runs that did not pass.
    pub failed: u64,
    /// Faults installed, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Messages acked.
    pub acked: u64,
    /// Messages given to consumers.
    pub delivered: u64,
    /// Runs in which there were any.
    pub consuming: u64,
    /// Operations that were part of a search for a legal order.
    pub searched: u64,
    /// Elections.
    pub elections: u64,
    /// Records that trace hashes cover.
    pub records: u64,
    /// Virtual time, summed.
    pub virtual_time: Duration,
    /// Real time from the first run to the last.
    pub wall_time: Duration,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.failed += u64::from(!outcome.pass);
        self.acked += outcome.acked;
        self.delivered += outcome.delivered;
        self.consuming += u64::from(outcome.delivered > 0);
        self.searched += outcome.searched;
        self.elections += outcome.elections;
        self.records += outcome.records;
        self.virtual_time += outcome.virtual_time;
        for (name, count) in &outcome.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
    }

    /// How many seeds an hour that is.
    pub fn seeds_per_hour(&self) -> f64 {
        self.runs as f64 * 3_600.0 / self.wall_time.as_secs_f64().max(0.001)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(f, "seeds            {} ({} failed)", self.runs, self.failed)?;
        writeln!(f, "faults installed {} ({})", self.faults.values().sum::<u64>(), faults.join(", "))?;
        writeln!(f, "acked messages   {}", self.acked)?;
        writeln!(f, "delivered        {} (in {} seeds with a subscription)", self.delivered, self.consuming)?;
        writeln!(f, "ops searched     {}", self.searched)?;
        writeln!(f, "elections        {}", self.elections)?;
        writeln!(f, "traced records   {}", self.records)?;
        writeln!(f, "virtual seconds  {:.0}", self.virtual_time.as_secs_f64())?;
        writeln!(f, "wall seconds     {:.1}", self.wall_time.as_secs_f64())?;
        write!(f, "seeds per hour   {:.0}", self.seeds_per_hour())
    }
}

/// Runs one spec in a process of its own: `program` is the binary of this crate.
///
/// # Errors
/// If the process cannot be started. A process that dies is an outcome that does not pass.
pub fn run_apart(program: &Path, spec: &Spec) -> Result<Outcome> {
    let mut command = Command::new(program);
    command.args(["--json", "--seed", &spec.seed.to_string(), "--seconds", &spec.seconds.to_string()]);
    command.args(["--plant", &spec.plant.to_string()]);
    let file = |flag: &str, path: &Option<PathBuf>| {
        path.iter().flat_map(|path| [flag.into(), path.clone().into_os_string()]).collect::<Vec<_>>()
    };
    command.args(file("--trace", &spec.trace)).args(file("--history", &spec.history));
    let output = command.output().with_context(|| format!("start {}", program.display()))?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        Outcome::lost(spec, format!("the process ended with {}: {}", output.status, said.trim()))
    }))
}

/// Runs every spec, as many at a time as there are processors; `tell` hears of each outcome as it comes.
///
/// # Errors
/// If a process cannot be started.
#[allow(
    clippy::disallowed_methods,
    reason = "how long a sweep takes in the real world is one of its figures"
)]
pub fn sweep(
    program: &Path,
    specs: &[Spec],
    tell: impl Fn(&Outcome) + Sync,
) -> Result<(Vec<Outcome>, Summary)> {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(specs.len().max(1));
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let worker = || -> Result<()> {
        while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let outcome = run_apart(program, spec)?;
            tell(&outcome);
            done.lock().push(outcome);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked")));
        ended.collect::<Result<Vec<()>>>()
    })?;
    let mut outcomes = done.into_inner();
    outcomes.sort_by_key(|outcome| outcome.seed);
    let mut summary = Summary::default();
    outcomes.iter().for_each(|outcome| summary.add(outcome));
    summary.wall_time = begun.elapsed();
    Ok((outcomes, summary))
}
