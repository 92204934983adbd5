//! `meridian-compare partitions`: what five hundred partitions cost at rest, and how long they pause when a node
//! that leads many of them dies, loudly or in silence.

mod board;
mod figures;
mod publishing;
mod region;
mod resting;
mod rounds;
mod throughput;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::Story;
use crate::report::Machine;
use figures::{Figures, Report};
use region::Region;
use rounds::Death;

/// Options of `partitions`.
#[derive(Args)]
pub(crate) struct PartitionsArgs {
    /// Partitions of the topic, three copies each
    #[arg(long, default_value_t = 500)]
    partitions: u32,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Leaders to kill with -9
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Leaders whose packets are dropped, without a reset
    #[arg(long, default_value_t = 50)]
    silences: u32,
    /// Milliseconds between two messages to one partition while leaders die
    #[arg(long, default_value_t = 200)]
    every_ms: u64,
    /// Seconds at rest that are measured
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// Seconds that each load counts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often each load is measured, in turn
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "target/bench/partitions.json")]
    report: PathBuf,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// CPU and memory while nothing is published
    Rest,
    /// Leaders that are killed
    Kill,
    /// Leaders that fall silent
    Silence,
    /// Keys over all partitions and over six
    Throughput,
}

impl Part {
    const ALL: [Self; 4] = [Self::Rest, Self::Kill, Self::Silence, Self::Throughput];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Measures. `false`: a target was missed.
pub(crate) async fn run(args: PartitionsArgs) -> Result<bool> {
    let story = Story(Instant::now());
    ensure!(args.partitions >= 6, "--partitions: at least six, to compare with six");
    let machine = Machine::look();
    story.say(format!("{} cores, load {}", machine.cores, machine.load_average));
    let wants = |part| args.only.contains(&part);
    let mut figures = Figures::new(args.partitions, args.every_ms);
    let region = Region::start(args.partitions).await?;
    story.say("three nodes, each in a network namespace, nothing in them");
    let empty = resting::memory(&region)?;
    let created = region.create().await?;
    story.say(format!(
        "{} partitions, three copies each: answered after {:.2} s, all led after {:.2} s",
        args.partitions,
        created.answered.as_secs_f64(),
        created.led.as_secs_f64()
    ));
    figures.created(created);
    if wants(Part::Rest) {
        region.settle(&story).await?;
        story.say(format!("at rest for {} s", args.rest_seconds));
        let rest = resting::measure(&region, &empty, Duration::from_secs(args.rest_seconds)).await?;
        story.say(rest.told());
        figures.rest = Some(rest);
    }
    if wants(Part::Kill) {
        let rounds = rounds::run(&region, &story, Death::Kill, args.kills, args.every_ms).await?;
        figures.kill = Some(rounds);
    }
    if wants(Part::Silence) {
        let rounds = rounds::run(&region, &story, Death::Silence, args.silences, args.every_ms).await?;
        figures.silence = Some(rounds);
    }
    if wants(Part::Throughput) {
        region.delete().await?;
        figures.throughput =
            Some(throughput::measure(&region, &story, args.partitions, args.seconds, args.turns).await?);
    }
    drop(region);
    let report = Report::new(machine, figures);
    report.write(&args.report)?;
    report.print(&args.report);
    Ok(report.is_met())
}
