//! What it came to: a table for people, a file for programs.

use std::path::Path;

use anyhow::{Context, Result};
use meridian_checker::DeliveryReport;
use serde::Serialize;

use crate::kills::Kill;
use crate::publishing::Published;
use crate::readback::Replicas;

/// The closing report.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Whether every check passed.
    pub(crate) passed: bool,
    flights: usize,
    airports: usize,
    acked: u64,
    duplicates_recognized: u64,
    errors_seen_by_producers: u64,
    publishing_s: f64,
    kills: Vec<Kill>,
    converge_s: f64,
    chains_agree: bool,
    replicas_read: usize,
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        flights: usize,
        airports: usize,
        publishing_s: f64,
        published: &Published,
        kills: Vec<Kill>,
        replicas: &Replicas,
        check: DeliveryReport,
    ) -> Self {
        let all_acked = published.acked == flights as u64 && published.errors == 0;
        Self {
            passed: check.is_pass() && all_acked && replicas.chains_agree && !kills.is_empty(),
            flights,
            airports,
            acked: published.acked,
            duplicates_recognized: published.duplicates,
            errors_seen_by_producers: published.errors,
            publishing_s,
            kills,
            converge_s: replicas.converge_s,
            chains_agree: replicas.chains_agree,
            replicas_read: replicas.records.len(),
            faults: check.faults.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn print(&self, path: &Path) {
        let worst = self.kills.iter().map(|kill| kill.without_leader_ms).max().unwrap_or(0);
        let lost = self.faults.len();
        println!();
        let row = |what: &str, value: String| println!("  {what:<46} {value}");
        row("flights published and acknowledged", format!("{} of {}", self.acked, self.flights));
        row("airports, whose order must hold", self.airports.to_string());
        row("leaders killed with -9", self.kills.len().to_string());
        row("longest time a partition had no leader", format!("{worst} ms"));
        row("errors the producers saw", self.errors_seen_by_producers.to_string());
        row("resent and recognized as stored", self.duplicates_recognized.to_string());
        row("replicas read back", self.replicas_read.to_string());
        row("flights lost, doubled or out of order", lost.to_string());
        row("hash chains of the replicas", if self.chains_agree { "agree".into() } else { "DIFFER".into() });
        println!();
        for fault in self.faults.iter().take(10) {
            println!("  {fault}");
        }
        println!("  {}", if self.passed { "PASSED" } else { "FAILED" });
        println!("  report: {}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meridian_checker::{Record, check_delivery};

    use super::*;

    fn flights() -> Vec<Record> {
        (1..=30).map(|line| Record::new(line.to_string(), ["SFO", "LAX", "DTW"][line % 3])).collect()
    }

    /// The report of a run whose third replica read back `read`.
    fn judged(read: Vec<Record>) -> Report {
        let flights = flights();
        let mut records: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        records.insert("node 1".into(), flights.clone());
        records.insert("node 2".into(), flights.clone());
        records.insert("node 3".into(), read);
        let check = check_delivery(&flights, &records);
        let replicas = Replicas { records, converge_s: 0.1, chains_agree: true };
        let published = Published { acked: 30, duplicates: 0, errors: 0 };
        let kill = Kill { node: 1, partition: 0, without_leader_ms: 900, restart_ms: 100 };
        Report::new(30, 3, 1.0, &published, vec![kill], &replicas, check)
    }

    #[test]
    fn a_faultless_run_passes() {
        assert!(judged(flights()).passed);
    }

    #[test]
    fn one_flight_lost_fails() {
        let mut read = flights();
        read.remove(11);
        let report = judged(read);
        assert!(!report.passed);
        assert!(report.faults[0].contains("record 12 "), "{:?}", report.faults);
    }

    #[test]
    fn one_flight_doubled_fails() {
        let mut read = flights();
        read.insert(20, read[5].clone());
        let report = judged(read);
        assert!(!report.passed);
        assert!(report.faults.iter().any(|fault| fault.contains("record 6 ")), "{:?}", report.faults);
    }

    #[test]
    fn two_flights_of_one_airport_swapped_fail() {
        let mut read = flights();
        read.swap(3, 6);
        let report = judged(read);
        assert!(!report.passed);
        assert!(report.faults.iter().any(|fault| fault.contains("came after")), "{:?}", report.faults);
    }

    #[test]
    fn chains_that_differ_fail_although_all_is_there() {
        let mut report = judged(flights());
        let replicas = Replicas { records: BTreeMap::new(), converge_s: 0.0, chains_agree: false };
        let published = Published { acked: 30, duplicates: 0, errors: 0 };
        let check = check_delivery(&flights(), &replicas.records);
        report = Report::new(30, 3, 1.0, &published, report.kills, &replicas, check);
        assert!(!report.passed);
    }
}
