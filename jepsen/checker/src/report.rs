//! The report: a verdict per promise, and what it rests on.

use std::{collections::BTreeMap, fmt};

use meridian_history::{Header, History};
use serde::Serialize;

use crate::{
    anomaly::{Anomaly, AnomalyKind},
    index::Index,
    promise::Promise,
    table,
};

/// What became of one promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Examined, and kept.
    Pass,
    /// Broken.
    Fail {
        /// How often, by kind.
        totals: BTreeMap<AnomalyKind, u64>,
        /// The first few of each kind.
        anomalies: Vec<Anomaly>,
    },
    /// Neither shown to be kept nor shown to be broken. Never a pass.
    Unknown {
        /// Why not.
        why: Vec<String>,
    },
    /// The history does not touch this promise, and nobody demanded that it should.
    Idle,
}

/// The verdict on one promise, with counts of what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How many of what were examined.
    pub examined: BTreeMap<&'static str, u64>,
}

/// The judgement of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every promise that was demanded or touched was kept.
    pub pass: bool,
    /// The history's header: seed and options of the run.
    pub header: Header,
    /// Operations in the history.
    pub ops: u64,
    /// Messages whose publish was acked. Without any, nothing was examined and the report is no pass.
    pub acked_messages: u64,
    /// The verdicts.
    pub promises: BTreeMap<Promise, Finding>,
}

impl Report {
    pub(crate) fn about(history: &History, index: &Index<'_>) -> Self {
        let acked = index.partitions.values().map(|view| view.acks().count() as u64).sum();
        Self {
            pass: false,
            header: history.header.clone(),
            ops: history.ops.len() as u64,
            acked_messages: acked,
            promises: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, promise: Promise, finding: Finding) {
        self.promises.insert(promise, finding);
        self.pass = self.is_pass();
    }

    /// Whether the history shows a correct system: something was acked, nothing failed, nothing is unknown.
    pub fn is_pass(&self) -> bool {
        let kept = |finding: &Finding| matches!(finding.verdict, Verdict::Pass | Verdict::Idle);
        self.acked_messages > 0 && self.promises.values().all(kept)
    }

    /// Whether some promise was broken, as opposed to not shown to be kept.
    pub fn is_fail(&self) -> bool {
        self.promises.values().any(|finding| matches!(finding.verdict, Verdict::Fail { .. }))
    }

    /// The verdict on one promise.
    pub fn verdict(&self, promise: Promise) -> &Verdict {
        self.promises.get(&promise).map_or(&Verdict::Idle, |finding| &finding.verdict)
    }

    /// How often each kind of anomaly was found, over all promises.
    pub fn totals(&self) -> BTreeMap<AnomalyKind, u64> {
        let mut all = BTreeMap::new();
        for finding in self.promises.values() {
            if let Verdict::Fail { totals, .. } = &finding.verdict {
                all.extend(totals);
            }
        }
        all
    }

    /// Whether this kind of anomaly was found.
    pub fn found(&self, kind: AnomalyKind) -> bool {
        self.totals().contains_key(&kind)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::print(self, f)
    }
}
