//! What came of a run: the checker's report, the figures, and whether it is a pass.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_checker::{AnomalyKind, Options, Promise, Report, Verdict};

use crate::plan::Plant;
use crate::run::{Raw, Spec};

/// A run and its verdict.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was planted in the server.
    pub plant: Plant,
    /// The hash over everything that happened.
    pub hash: String,
    /// How many records the hash covers.
    pub records: u64,
    /// Faults installed, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages acked to clients.
    pub acked: u64,
    /// Messages that retention had removed at the end, summed over replicas.
    pub trimmed: u64,
    /// Terms in which some group had a leader.
    pub elections: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Real time, the judging included.
    pub wall_time: Duration,
    /// The checker's report.
    pub report: Report,
    /// What should not have happened although no promise of the log is broken by it.
    pub problems: Vec<String>,
}

pub(crate) fn judge(spec: &Spec, raw: Raw, begun: Instant) -> Result<Outcome> {
    let history = raw.history.history()?;
    let mut options = Options { search_each_max: Duration::from_secs(5), ..Options::default() };
    if raw.expires {
        // Retention may have removed all there was to look up.
        options = options.excusing(Promise::Log1).excusing(Promise::Log2);
    }
    let report = meridian_checker::check(&history, &options);
    Ok(Outcome {
        seed: spec.seed,
        plant: spec.plant,
        hash: raw.hash,
        records: raw.records,
        faults: raw.faults,
        acked: raw.acked,
        trimmed: raw.trimmed,
        elections: raw.elections,
        virtual_time: raw.virtual_time,
        wall_time: begun.elapsed(),
        report,
        problems: raw.problems,
    })
}

impl Outcome {
    /// Whether the checker passes it and nothing else went wrong.
    pub fn passes(&self) -> bool {
        self.report.is_pass() && self.problems.is_empty()
    }

    /// Whether the checker found this kind of anomaly.
    pub fn found(&self, kind: AnomalyKind) -> bool {
        self.report.found(kind)
    }

    /// Why it does not pass, one reason a line.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.problems.clone();
        for (promise, finding) in &self.report.promises {
            match &finding.verdict {
                Verdict::Pass | Verdict::Idle => {}
                Verdict::Unknown { why } => reasons.push(format!("{promise} unknown: {}", why.join("; "))),
                Verdict::Fail { totals, anomalies } => {
                    let totals: Vec<String> = totals.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
                    let first =
                        anomalies.first().map(|a| format!("{}: {}", a.place, a.detail)).unwrap_or_default();
                    reasons.push(format!("{promise} broken ({}), first at {first}", totals.join(", ")));
                }
            }
        }
        reasons
    }

    /// The command that runs this seed again.
    pub fn rerun(&self) -> String {
        format!("cargo run -p meridian-sim -- --seed {seed} --trace seed-{seed}.trace", seed = self.seed)
    }

    /// The head of the table of outcomes.
    pub fn table_head() -> String {
        format!(
            "{:>6} {:>7} {:>7} {:>7} {:>9} {:>8} {:>7}  {:8}  faults",
            "seed", "verdict", "acked", "trimmed", "elections", "virtual", "wall", "hash"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|(name, n)| format!("{name} {n}")).collect();
        write!(
            f,
            "{:>6} {:>7} {:>7} {:>7} {:>9} {:>7.1}s {:>6.2}s  {:.8}  {}",
            self.seed,
            if self.passes() { "pass" } else { "FAIL" },
            self.acked,
            self.trimmed,
            self.elections,
            self.virtual_time.as_secs_f64(),
            self.wall_time.as_secs_f64(),
            self.hash,
            faults.join(", ")
        )
    }
}
