//! What came of a run: the checker's verdict, the figures, and whether it is a pass.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_checker::{Options, Promise, Report, Verdict};
use serde::{Deserialize, Serialize};

use crate::plant::Plant;
use crate::run::{Raw, Spec};

/// A run and its verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was planted in the server.
    pub plant: Plant,
    /// Whether the checker passes it and nothing else went wrong.
    pub pass: bool,
    /// Why it does not pass, one reason a line.
    pub reasons: Vec<String>,
    /// How often the checker found each kind of anomaly, by its name.
    pub anomalies: BTreeMap<String, u64>,
    /// The hash over everything that happened.
    pub hash: String,
    /// How many records the hash covers.
    pub records: u64,
    /// Faults installed, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Messages acked to clients.
    pub acked: u64,
    /// Messages given to consumers.
    pub delivered: u64,
    /// Operations that were part of a search for a legal order.
    pub searched: u64,
    /// Messages that retention had removed at the end, summed over replicas.
    pub trimmed: u64,
    /// Terms in which some group had a leader.
    pub elections: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Real time, the judging included.
    pub wall_time: Duration,
    /// The checker's report, for people.
    pub report: String,
}

pub(crate) fn judge(spec: &Spec, raw: Raw, begun: Instant) -> Result<Outcome> {
    let history = raw.history.history()?;
    // A search of a whole partition may take longer than all the rest of a run.
    let mut options = Options { search_ops_max: 0, ..Options::default() }.demanding(Promise::LogSearch);
    if raw.expires {
        // Retention may have removed all there was to look up.
        options = options.excusing(Promise::Log1).excusing(Promise::Log2);
    }
    let report = meridian_checker::check(&history, &options);
    let finding = report.promises.get(&Promise::LogSearch);
    let searched = finding.and_then(|finding| finding.examined.get("operations searched")).copied();
    let searched = searched.unwrap_or_default();
    let mut reasons = raw.problems;
    let pass = report.is_pass() && reasons.is_empty();
    reasons.extend(told_by(&report));
    Ok(Outcome {
        seed: spec.seed,
        plant: spec.plant,
        pass,
        reasons,
        anomalies: report.totals().into_iter().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
        hash: raw.hash,
        records: raw.records,
        faults: raw.faults.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        acked: raw.acked,
        delivered: raw.delivered,
        searched,
        trimmed: raw.trimmed,
        elections: raw.elections,
        virtual_time: raw.virtual_time,
        wall_time: begun.elapsed(),
        report: report.to_string(),
    })
}

fn told_by(report: &Report) -> Vec<String> {
    let told = report.promises.iter().filter_map(|(promise, finding)| match &finding.verdict {
        Verdict::Pass | Verdict::Idle => None,
        Verdict::Unknown { why } => Some(format!("{promise} unknown: {}", why.join("; "))),
        Verdict::Fail { totals, anomalies } => {
            let totals: Vec<String> = totals.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            let first = anomalies.first().map(|a| format!("{}: {}", a.place, a.detail)).unwrap_or_default();
            Some(format!("{promise} broken ({}), first at {first}", totals.join(", ")))
        }
    });
    told.collect()
}

impl Outcome {
    /// The outcome of a run that brought none: its process died.
    pub(crate) fn lost(spec: &Spec, why: String) -> Self {
        Self {
            seed: spec.seed,
            plant: spec.plant,
            pass: false,
            reasons: vec![why],
            anomalies: BTreeMap::new(),
            hash: String::new(),
            records: 0,
            faults: BTreeMap::new(),
            acked: 0,
            delivered: 0,
            searched: 0,
            trimmed: 0,
            elections: 0,
            virtual_time: Duration::ZERO,
            wall_time: Duration::ZERO,
            report: String::new(),
        }
    }

    /// Whether the checker found this kind of anomaly.
    pub fn found(&self, anomaly: &str) -> bool {
        self.anomalies.contains_key(anomaly)
    }

    /// The command that runs this seed again.
    pub fn rerun(&self) -> String {
        let plant =
            if self.plant == Plant::None { String::new() } else { format!(" --plant {}", self.plant) };
        format!(
            "cargo run -p meridian-sim -- --seed {seed}{plant} --trace seed-{seed}.trace",
            seed = self.seed
        )
    }

    /// The head of the table of outcomes.
    pub fn table_head() -> String {
        format!(
            "{:>6} {:>7} {:>7} {:>9} {:>8} {:>7} {:>9} {:>8} {:>7}  {:8}  faults",
            "seed",
            "verdict",
            "acked",
            "delivered",
            "searched",
            "trimmed",
            "elections",
            "virtual",
            "wall",
            "hash"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|(name, n)| format!("{name} {n}")).collect();
        write!(
            f,
            "{:>6} {:>7} {:>7} {:>9} {:>8} {:>7} {:>9} {:>7.1}s {:>6.2}s  {:.8}  {}",
            self.seed,
            if self.pass { "pass" } else { "FAIL" },
            self.acked,
            self.delivered,
            self.searched,
            self.trimmed,
            self.elections,
            self.virtual_time.as_secs_f64(),
            self.wall_time.as_secs_f64(),
            self.hash,
            faults.join(", ")
        )?;
        if !self.pass {
            for reason in &self.reasons {
                write!(f, "\n         {reason}")?;
            }
            write!(f, "\n         run it again: {}", self.rerun())?;
        }
        Ok(())
    }
}
