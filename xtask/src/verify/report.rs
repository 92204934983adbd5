//! The table at the end: stage, outcome, seconds, budget.

use std::fmt::Write;
use std::time::Duration;

use super::stages::Stage;

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// One stage that ran.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    pub(super) budget: Duration,
}

/// What will run.
pub(super) fn listing(stages: &[Stage]) -> String {
    let mut out = String::from("stage        budget s\n");
    for stage in stages {
        let _ = writeln!(out, "{:<12} {:>8}", stage.name, stage.budget_s);
    }
    out
}

/// What ran.
pub(super) fn table(lines: &[Line]) -> String {
    let mut out = String::from("stage        outcome    seconds   budget\n");
    for line in lines {
        let outcome = match line.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        let over = if line.took > line.budget { "  over budget" } else { "" };
        let (took, budget) = (line.took.as_secs_f64(), line.budget.as_secs());
        let _ = writeln!(out, "{:<12} {outcome:<9} {took:>8.1} {budget:>8}{over}", line.name);
    }
    let took: Duration = lines.iter().map(|line| line.took).sum();
    let budget: Duration = lines.iter().map(|line| line.budget).sum();
    let _ = writeln!(out, "{:<22} {:>8.1} {:>8}", "total", took.as_secs_f64(), budget.as_secs());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, outcome: Outcome, seconds: u64) -> Line {
        Line { name, outcome, took: Duration::from_secs(seconds), budget: Duration::from_secs(10) }
    }

    #[test]
    fn what_failed_and_what_was_slow_can_be_seen() {
        let lines = [
            line("tidy", Outcome::Passed, 3),
            line("tests", Outcome::Failed, 12),
            line("deny", Outcome::Skipped, 0),
        ];
        let table = table(&lines);
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[1].contains("ok") && !rows[1].contains("over budget"), "{table}");
        assert!(rows[2].contains("FAILED") && rows[2].ends_with("over budget"), "{table}");
        assert!(rows[3].contains("skipped"), "{table}");
        assert!(rows[4].contains("15.0") && rows[4].contains("30"), "{table}");
    }
}
