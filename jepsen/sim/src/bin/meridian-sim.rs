//! Runs seeds of the simulated region: one with all its details, or many with a table.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// Seeds to run, as FIRST..END, each in a process of its own.
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// Virtual seconds of work under faults.
    #[arg(long, default_value_t = Spec::SECONDS)]
    seconds: u64,
    /// How long a seed may take in the real world.
    #[arg(long, default_value_t = 120)]
    wall_seconds_max: u64,
    /// Write the trace as text.
    #[arg(long, conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// Write the history as JSON lines, for `meridian-check`.
    #[arg(long, conflicts_with = "seeds")]
    history: Option<PathBuf>,
    /// Plant a fault in the server: the run must fail.
    #[arg(long, default_value = "none")]
    plant: Plant,
    /// Print the outcome as JSON.
    #[arg(long, conflicts_with = "seeds")]
    json: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("write seeds as FIRST..END")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(first)?..number(end)?)
}

/// A region in which somebody is busy without an end never lets virtual time pass: the process ends all the same.
fn end_by_itself(after: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(after);
        eprintln!("not over after {} s: virtual time stands still", after.as_secs());
        std::process::exit(3);
    });
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let spec = |seed| Spec { seconds: args.seconds, ..Spec::new(seed) }.planting(args.plant);
    if let Some(seeds) = args.seeds.clone() {
        println!("{}", Outcome::table_head());
        let specs: Vec<Spec> = seeds.map(spec).collect();
        let (_, summary) = sweep(&std::env::current_exe()?, &specs, |outcome| println!("{outcome}"))?;
        println!("\n{summary}");
        return Ok(ExitCode::from(u8::from(summary.failed > 0)));
    }
    end_by_itself(Duration::from_secs(args.wall_seconds_max));
    let spec = Spec { trace: args.trace, history: args.history, ..spec(args.seed.unwrap_or_default()) };
    let outcome = run(&spec)?;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!("{}\n{outcome}\n\n{}", Outcome::table_head(), outcome.report);
        println!("trace hash {} over {} records", outcome.hash, outcome.records);
    }
    Ok(ExitCode::from(u8::from(!outcome.pass)))
}
