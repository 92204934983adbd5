//! What it came to: tables for people, a file for programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::cluster::Load;
use crate::nats::{Outcome, Variant};
use crate::ratios::{self, Ratio, Target};

/// The machine and what else it did.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// As `/proc/loadavg` has it when the measurement begins: foreign load spoils every figure.
    pub(crate) load_average: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_string();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_average: read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// One NATS and its loads.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) variant: Variant,
    pub(crate) outcomes: Vec<(&'static str, Outcome)>,
}

impl Compared {
    /// The better of one and several streams, messages a second.
    pub(crate) fn best(&self, name: &str) -> f64 {
        let own = self.outcomes.iter().filter(|(own, _)| *own == name);
        own.map(|(_, outcome)| outcome.messages_per_s).fold(f64::NAN, f64::max)
    }

    pub(crate) fn one_at_a_time(&self) -> f64 {
        let own = self.outcomes.iter().find(|(own, _)| *own == "one at a time");
        own.map_or(f64::NAN, |(_, outcome)| outcome.p50_us)
    }
}

/// The whole.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine_before: Machine,
    machine_after: Machine,
    floor_before: Value,
    floor_after: Value,
    meridian: Vec<(&'static str, Load)>,
    nats: Vec<Compared>,
    ratios: Vec<Ratio>,
}

impl Report {
    pub(crate) fn new(
        machine_before: Machine,
        floor_before: Value,
        floor_after: Value,
        meridian: Vec<(&'static str, Load)>,
        nats: Vec<Compared>,
    ) -> Self {
        let ratios = ratios::all(&floor_before, &floor_after, &meridian, &nats);
        Self {
            machine_before,
            machine_after: Machine::look(),
            floor_before,
            floor_after,
            meridian,
            nats,
            ratios,
        }
    }

    /// Whether every message on Meridian was acknowledged and found again.
    pub(crate) fn is_sound(&self) -> bool {
        self.meridian.iter().all(|(_, load)| load.is_sound())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn print(&self, path: &Path) {
        println!(
            "\n{:<54} {:>10} {:>8} {:>10} {:>10}  CPU ns/B",
            "load", "msgs/s", "MB/s", "p50 ms", "p99 ms"
        );
        let row = |name: String, rate: f64, mb: f64, p50: f64, p99: f64, cpu: (f64, f64)| {
            let (p50, p99) = (p50 / 1e3, p99 / 1e3);
            let (servers, client) = cpu;
            println!("{name:<54} {rate:>10.0} {mb:>8.2} {p50:>10.3} {p99:>10.3}  {servers:.1} + {client:.1}");
        };
        for (name, load) in &self.meridian {
            let sound = if load.is_sound() { "" } else { " NOT SOUND" };
            row(
                format!("Meridian: {name}{sound}"),
                load.figure("/messages_per_s"),
                load.figure("/mb_per_s"),
                load.figure("/latency/p50_us"),
                load.figure("/latency/p99_us"),
                (load.nodes_cpu_ns_per_byte, load.client_cpu_ns_per_byte),
            );
        }
        for nats in &self.nats {
            for (name, outcome) in &nats.outcomes {
                let errors =
                    if outcome.errors == 0 { String::new() } else { format!(" {} errors", outcome.errors) };
                row(
                    format!("{}: {name}, {} streams{errors}", nats.variant.name(), outcome.streams),
                    outcome.messages_per_s,
                    outcome.mb_per_s,
                    outcome.p50_us,
                    outcome.p99_us,
                    (outcome.servers_cpu_ns_per_byte, outcome.client_cpu_ns_per_byte),
                );
            }
        }
        println!();
        self.ratios.iter().for_each(print_ratio);
        println!(
            "\nload average {} before, {} after",
            self.machine_before.load_average, self.machine_after.load_average
        );
        println!("report: {}", path.display());
    }
}

/// A ratio, its target, and whether it is met.
pub(crate) fn print_ratio(ratio: &Ratio) {
    let target = match (ratio.target, ratio.met) {
        (Some(Target::AtLeast(bound)), Some(met)) => format!("at least {bound}: {}", verdict(met)),
        (Some(Target::AtMost(bound)), Some(met)) => format!("at most {bound}: {}", verdict(met)),
        _ => String::new(),
    };
    println!("{:<86} {:>7.2}  {target}", ratio.name, ratio.value);
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
