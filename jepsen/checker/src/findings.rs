//! What one promise's check gathers before it is settled into a verdict.

use std::collections::BTreeMap;

use meridian_history::OpId;

use crate::{
    anomaly::{Anomaly, AnomalyKind},
    report::{Finding, Verdict},
};

/// Anomalies of one kind that are kept with their details; all are counted.
const KEPT_PER_KIND_MAX: u64 = 20;

/// Reasons of doubt that are kept; one is enough to withhold a pass.
const DOUBTS_MAX: usize = 10;

/// The state of one check.
#[derive(Debug)]
pub(crate) struct Findings {
    essential: &'static str,
    examined: BTreeMap<&'static str, u64>,
    totals: BTreeMap<AnomalyKind, u64>,
    anomalies: Vec<Anomaly>,
    doubts: Vec<String>,
}

impl Findings {
    /// Begins a check that has examined nothing until it has counted some of `essential`.
    pub(crate) fn of(essential: &'static str) -> Self {
        Self {
            essential,
            examined: BTreeMap::from([(essential, 0)]),
            totals: BTreeMap::new(),
            anomalies: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// Counts things looked at.
    pub(crate) fn count(&mut self, what: &'static str, more: u64) {
        *self.examined.entry(what).or_default() += more;
    }

    /// Notes a broken promise.
    pub(crate) fn flag(
        &mut self,
        kind: AnomalyKind,
        place: &str,
        ops: &[OpId],
        detail: impl FnOnce() -> String,
    ) {
        let total = self.totals.entry(kind).or_default();
        *total += 1;
        if *total <= KEPT_PER_KIND_MAX {
            let (place, ops) = (place.to_owned(), ops.to_vec());
            self.anomalies.push(Anomaly { kind, place, ops, detail: detail() });
        }
    }

    /// Notes why this cannot be called a pass although nothing is known to be broken.
    pub(crate) fn doubt(&mut self, why: impl Into<String>) {
        let why = why.into();
        if self.doubts.len() < DOUBTS_MAX && !self.doubts.contains(&why) {
            self.doubts.push(why);
        }
    }

    /// Reaches the verdict: broken beats doubtful, doubtful beats unexamined, and only then it is a pass.
    pub(crate) fn settle(mut self, demanded: bool) -> Finding {
        let nothing = self.examined[self.essential] == 0;
        if nothing && demanded {
            let essential = self.essential;
            self.doubt(format!("nothing was examined: no {essential}"));
        }
        let verdict = if !self.totals.is_empty() {
            Verdict::Fail { totals: self.totals, anomalies: self.anomalies }
        } else if !self.doubts.is_empty() {
            Verdict::Unknown { why: self.doubts }
        } else if nothing {
            Verdict::Idle
        } else {
            Verdict::Pass
        };
        Finding { verdict, examined: self.examined }
    }
}
