//! Many seeds side by side, and the figures over all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use parking_lot::Mutex;

use crate::outcome::Outcome;
use crate::run::{Spec, run};

/// The figures over many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Runs that did not pass.
    pub failed: u64,
    /// Faults installed, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages acked.
    pub acked: u64,
    /// Elections.
    pub elections: u64,
    /// Virtual time, summed.
    pub virtual_time: Duration,
    /// Real time from the first run to the last.
    pub wall_time: Duration,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.failed += u64::from(!outcome.passes());
        self.acked += outcome.acked;
        self.elections += outcome.elections;
        self.virtual_time += outcome.virtual_time;
        for (name, count) in &outcome.faults {
            *self.faults.entry(name).or_default() += count;
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
        writeln!(f, "elections        {}", self.elections)?;
        writeln!(f, "virtual seconds  {:.0}", self.virtual_time.as_secs_f64())?;
        writeln!(f, "wall seconds     {:.1}", self.wall_time.as_secs_f64())?;
        write!(f, "seeds per hour   {:.0}", self.seeds_per_hour())
    }
}

/// Runs every spec on as many threads as there are processors; `tell` hears of each outcome as it comes.
///
/// # Errors
/// The first run that could not be judged at all.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a sweep takes in the real world is one of its figures"
)]
pub fn sweep(specs: &[Spec], tell: impl Fn(&Outcome) + Sync) -> Result<(Vec<Outcome>, Summary)> {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(specs.len().max(1));
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let worker = || -> Result<()> {
        while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let outcome = run(spec)?;
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
