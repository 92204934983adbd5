//! Runs seeds of the simulated region: one with all its details, or many with a table.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use meridian_sim::{Outcome, Plant, Spec, run, sweep};

/// Runs a simulated region from a seed, or from many, and has its history judged.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The seed to run.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Seeds to run, as FIRST..END.
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// Virtual seconds of work under faults.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Write the trace as text.
    #[arg(long, conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// Write the history as JSON lines, for `meridian-check`.
    #[arg(long, conflicts_with = "seeds")]
    history: Option<PathBuf>,
    /// Make every disk lie about syncing: the run must fail.
    #[arg(long)]
    lying_disks: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("write seeds as FIRST..END")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(first)?..number(end)?)
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let plant = if args.lying_disks { Plant::LyingDisks } else { Plant::None };
    let spec = |seed| Spec { seconds: args.seconds, ..Spec::new(seed) }.planting(plant);
    println!("{}", Outcome::table_head());
    if let Some(seeds) = args.seeds.clone() {
        let specs: Vec<Spec> = seeds.map(spec).collect();
        let (_, summary) = sweep(&specs, tell)?;
        println!("\n{summary}");
        return Ok(ExitCode::from(u8::from(summary.failed > 0)));
    }
    let spec = Spec { trace: args.trace, history: args.history, ..spec(args.seed.unwrap_or_default()) };
    let outcome = run(&spec)?;
    tell(&outcome);
    println!("\n{}\ntrace hash {} over {} records", outcome.report, outcome.hash, outcome.records);
    Ok(ExitCode::from(u8::from(!outcome.passes())))
}

fn tell(outcome: &Outcome) {
    println!("{outcome}");
    if !outcome.passes() {
        let reasons = outcome.reasons().join("\n         ");
        println!("         {reasons}\n         run it again: {}", outcome.rerun());
    }
}
