//! What came of a run: the judgement of its history, and the figures.

use std::collections::BTreeMap;
use std::fmt;

use meridian_checker::{Promise, Report};
use serde_json::{Value, json};

use crate::workload::{Counts, Rescan};

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The verdicts.
    pub report: Report,
    /// What the clients did.
    pub counts: Counts,
    /// What the replicas held in the end.
    pub rescan: Rescan,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Nodes that had to be started once more at the end.
    pub revived: u32,
}

impl Judged {
    /// Operations on logs that were part of a search for a legal order.
    pub fn searched(&self) -> u64 {
        let finding = self.report.promises.get(&Promise::LogSearch);
        finding.and_then(|finding| finding.examined.get("operations searched")).copied().unwrap_or_default()
    }

    /// Everything, for a file.
    pub fn to_json(&self) -> Value {
        json!({
            "report": self.report.to_json(),
            "counts": self.counts,
            "faults": self.faults,
            "revived": self.revived,
            "converged_after_ms": self.rescan.converged_after.as_millis() as u64,
            "messages_by_replica": self.rescan.messages,
            "chains_compared": self.rescan.chains,
            "problems": self.rescan.problems,
        })
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.report)?;
        writeln!(f, "faults             {:?}", self.faults)?;
        writeln!(f, "acked              {}", self.counts.acked)?;
        writeln!(f, "read               {}", self.counts.read)?;
        writeln!(f, "wire attempts      {:?}", self.counts.attempts)?;
        writeln!(f, "unknown outcomes   {}", self.counts.unknown)?;
        writeln!(f, "metadata answers   {}", self.counts.control)?;
        writeln!(f, "SDK errors         {:?}", self.counts.sdk_errors)?;
        writeln!(f, "on replicas        {:?}", self.rescan.messages)?;
        writeln!(f, "chains compared    {}", self.rescan.chains)?;
        writeln!(f, "converged after    {:.2} s", self.rescan.converged_after.as_secs_f64())?;
        writeln!(f, "revived at the end {}", self.revived)?;
        self.rescan.problems.iter().try_for_each(|problem| writeln!(f, "problem            {problem}"))
    }
}
