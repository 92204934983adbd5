//! What libFuzzer says when it is done, in one line for each target.

use std::time::Duration;

/// The head of the table.
pub(super) const HEADING: &str = "target         inputs    edges  features  kept   seconds";

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    inputs: u64,
    /// Edges of the program that were taken.
    edges: u64,
    /// Edges with how often they were taken.
    features: u64,
    /// Inputs that led somewhere new.
    kept: u64,
}

impl Report {
    /// From everything that libFuzzer said. `None` where it did not come to an end, or saw nothing at all.
    pub(super) fn read(said: &str) -> Option<Self> {
        let done = said.lines().find(|line| line.starts_with('#') && line.contains("DONE"))?;
        let after = |name: &str| {
            let words = done.split_whitespace();
            let number = words.skip_while(|word| *word != name).nth(1)?;
            number.split('/').next()?.parse().ok()
        };
        let inputs = done.trim_start_matches('#').split_whitespace().next()?.parse().ok()?;
        let report = Self { inputs, edges: after("cov:")?, features: after("ft:")?, kept: after("corp:")? };
        (report.edges > 0).then_some(report)
    }

    /// A row of the table.
    pub(super) fn line(&self, target: &str, took: Duration) -> String {
        let Self { inputs, edges, features, kept } = self;
        let seconds = took.as_secs_f64();
        format!("{target:<12} {inputs:>8} {edges:>8} {features:>9} {kept:>5} {seconds:>9.1}")
    }
}

/// The end of what was said: the failure, and the input.
pub(super) fn ending(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ended_is_read() {
        let said = "INFO: Seed: 1\n#2\tINITED cov: 7 ft: 8 corp: 1/1b\n\
            #40000\tDONE   cov: 512 ft: 1400 corp: 90/12Kb lim: 4096 exec/s: 6666 rss: 60Mb\nDone\n";
        let report = Report::read(said).expect("a report");
        assert_eq!(report, Report { inputs: 40_000, edges: 512, features: 1_400, kept: 90 });
        assert!(report.line("batch", Duration::from_secs(3)).ends_with("90       3.0"));
    }

    #[test]
    fn a_run_that_broke_off_or_saw_nothing_is_none() {
        assert_eq!(Report::read("#2\tINITED cov: 7 ft: 8 corp: 1/1b\n==1== ERROR: libFuzzer"), None);
        assert_eq!(Report::read("#9\tDONE   cov: 0 ft: 0 corp: 1/1b exec/s: 0\n"), None);
    }
}
