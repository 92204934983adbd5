//! The report as a small table for people.

use std::fmt;

use crate::report::{Finding, Report, Verdict};

/// Anomalies of a promise that the table spells out; the JSON has more.
const SPELLED_OUT_MAX: usize = 5;

pub(crate) fn print(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let seed = report.header.seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
    writeln!(f, "{} operations, {} acked messages{seed}", report.ops, report.acked_messages)?;
    for (promise, finding) in &report.promises {
        writeln!(f, "{promise:<8} {:<8} {}", word(&finding.verdict), counts(finding))?;
        match &finding.verdict {
            Verdict::Fail { totals, anomalies } => {
                for (kind, total) in totals {
                    writeln!(f, "         {kind}: {total}")?;
                    for anomaly in anomalies.iter().filter(|a| a.kind == *kind).take(SPELLED_OUT_MAX) {
                        writeln!(
                            f,
                            "           {} {} (ops {:?})",
                            anomaly.place, anomaly.detail, anomaly.ops
                        )?;
                    }
                }
            }
            Verdict::Unknown { why } => {
                for reason in why {
                    writeln!(f, "           {reason}")?;
                }
            }
            Verdict::Pass | Verdict::Idle => {}
        }
    }
    let conclusion = match (report.is_pass(), report.is_fail()) {
        (true, _) => "PASS",
        (false, true) => "FAIL",
        (false, false) => "UNKNOWN, which is not a pass",
    };
    writeln!(f, "{conclusion}")
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail { .. } => "FAIL",
        Verdict::Unknown { .. } => "UNKNOWN",
        Verdict::Idle => "idle",
    }
}

fn counts(finding: &Finding) -> String {
    let each: Vec<String> = finding.examined.iter().map(|(what, count)| format!("{count} {what}")).collect();
    each.join(", ")
}
