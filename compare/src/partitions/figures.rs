//! What was measured, and whether it is enough: a table for people, a file for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::region::Created;
use super::resting::Rest;
use super::rounds::Rounds;
use super::throughput::{Throughput, mean};
use crate::ratios::{Ratio, Target};
use crate::report::{Machine, print_ratio};

/// Publishing should go on within this time.
const RETURN_MAX: Duration = Duration::from_secs(2);
/// In this part of the rounds.
const RETURNS_MIN: f64 = 49.0 / 50.0;

/// Everything that was measured; what was not asked for is absent.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    partitions: u32,
    every_ms: u64,
    created_answered_s: f64,
    created_led_s: f64,
    pub(super) rest: Option<Rest>,
    pub(super) kill: Option<Rounds>,
    pub(super) silence: Option<Rounds>,
    pub(super) throughput: Option<Throughput>,
}

impl Figures {
    pub(super) fn new(partitions: u32, every_ms: u64) -> Self {
        Self {
            partitions,
            every_ms,
            created_answered_s: f64::NAN,
            created_led_s: f64::NAN,
            rest: None,
            kill: None,
            silence: None,
            throughput: None,
        }
    }

    pub(super) fn created(&mut self, created: Created) {
        self.created_answered_s = created.answered.as_secs_f64();
        self.created_led_s = created.led.as_secs_f64();
    }

    fn ratios(&self) -> Vec<Ratio> {
        let mut ratios = Vec::new();
        if let Some(rest) = &self.rest {
            let name = "at rest: CPU of all nodes, percent of one core";
            ratios.push(Ratio::new(name, rest.cpu_percent, Some(Target::AtMost(20.0))));
            let name = "at rest: resident KiB a replica, on the node that takes most";
            ratios.push(Ratio::new(name, rest.kib_per_replica_max, Some(Target::AtMost(300.0))));
        }
        for rounds in [&self.kill, &self.silence].into_iter().flatten() {
            let part = rounds.within(RETURN_MAX) as f64 / rounds.rounds.len() as f64;
            let name =
                format!("{:?}: part of the rounds in which all publish again within 2 s", rounds.death);
            ratios.push(Ratio::new(name, part, Some(Target::AtLeast(RETURNS_MIN))));
        }
        if let Some(throughput) = &self.throughput {
            let name = format!("keys over {} partitions: messages/s over those with 6", self.partitions);
            ratios.push(Ratio::new(name, throughput.ratio(), Some(Target::AtLeast(0.6))));
        }
        ratios
    }
}

/// The whole.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine_before: Machine,
    machine_after: Machine,
    figures: Figures,
    ratios: Vec<Ratio>,
}

impl Report {
    pub(super) fn new(machine_before: Machine, figures: Figures) -> Self {
        let ratios = figures.ratios();
        Self { machine_before, machine_after: Machine::look(), figures, ratios }
    }

    pub(super) fn is_met(&self) -> bool {
        self.ratios.iter().all(|ratio| ratio.met != Some(false))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    pub(super) fn print(&self, path: &Path) {
        let figures = &self.figures;
        println!(
            "\n{} partitions created: answered after {:.2} s, all led after {:.2} s",
            figures.partitions, figures.created_answered_s, figures.created_led_s
        );
        for node in figures.rest.iter().flat_map(|rest| &rest.nodes) {
            println!(
                "node {} at rest: {:.2} % of one core; a replica takes {:.0} KiB resident, {:.0} of them anonymous",
                node.node, node.cpu_percent, node.rss_kib_per_replica, node.anonymous_kib_per_replica
            );
        }
        for rounds in [&figures.kill, &figures.silence].into_iter().flatten() {
            println!(
                "{:?}: last partition back after p50 {:.0}, p90 {:.0}, p98 {:.0}, most {:.0} ms; \
                 {} of {} within 2 s; publishers saw {} errors",
                rounds.death,
                rounds.percentile(50),
                rounds.percentile(90),
                rounds.percentile(98),
                rounds.percentile(100),
                rounds.within(RETURN_MAX),
                rounds.rounds.len(),
                rounds.errors
            );
        }
        if let Some(throughput) = &figures.throughput {
            println!(
                "messages/s of 1 KiB: {:.0} with 6 partitions, {:.0} with {}",
                mean(&throughput.few),
                mean(&throughput.many),
                figures.partitions
            );
        }
        println!();
        self.ratios.iter().for_each(print_ratio);
        let (before, after) = (&self.machine_before.load_average, &self.machine_after.load_average);
        println!("\nload average {before} before, {after} after\nreport: {}", path.display());
    }
}
