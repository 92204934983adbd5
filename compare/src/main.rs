//! `make bench`: three nodes, the load on them, the floor of the machine, and NATS JetStream beside it.
//! `make bench-partitions`: what many partitions cost, and how they survive the death of a node.

mod child;
mod cluster;
mod nats;
mod partitions;
mod ratios;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::cluster::{Cluster, Load};
use crate::nats::{Bodies, Nats, Outcome, Shape, Variant};
use crate::report::{Compared, Report};

/// Measure three nodes of Meridian, this machine, and NATS JetStream with three replicas, one after the other.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The program to measure [default: `meridian` beside this one]
    #[arg(long, value_name = "FILE")]
    meridian: Option<PathBuf>,
    /// Where the data lies while it is measured; the disk counts
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    data: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.json")]
    report: PathBuf,
    /// The lines to publish
    #[arg(long, value_name = "FILE", default_value = "examples/data/flights-20k.ndjson")]
    flights: PathBuf,
    /// Seconds that each load counts
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Seconds at half of the highest rate
    #[arg(long, default_value_t = 300)]
    half_seconds: u64,
    /// A nats-server to measure; repeatable [default: every version found in PATH and ~/go/bin]
    #[arg(long, value_name = "FILE")]
    nats_server: Vec<PathBuf>,
    /// Measure no NATS
    #[arg(long)]
    no_nats: bool,
    /// Unacknowledged messages of each of two NATS publishers
    #[arg(long, default_value_t = 4096)]
    nats_window: usize,
}

#[derive(Subcommand)]
enum Command {
    /// Measure many partitions: at rest, under the death of a leader, and their throughput. Needs root.
    Partitions(partitions::PartitionsArgs),
}

/// Where a load at half rate gets so long that its messages must go while it runs.
const KEPT_BYTES_MAX: f64 = 4e9;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    let measuring = async {
        match args.command.take() {
            Some(Command::Partitions(args)) => {
                Ok((Box::pin(partitions::run(args)).await?, "a target was missed"))
            }
            None => Ok((Box::pin(run(args)).await?, "a load was not sound")),
        }
    };
    let outcome = tokio::select! {
        outcome = measuring => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok((true, _)) => ExitCode::SUCCESS,
        Ok((false, why)) => {
            eprintln!("{why}: the report says which");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the comparison failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is measured, with the seconds since the beginning.
struct Story(Instant);

impl Story {
    fn say(&self, line: impl AsRef<str>) {
        println!("{:6.1} s  {}", self.0.elapsed().as_secs_f64(), line.as_ref());
    }
}

async fn run(args: Args) -> Result<bool> {
    let story = Story(Instant::now());
    let meridian = match &args.meridian {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("meridian"),
    };
    std::fs::create_dir_all(&args.data)?;
    sweep(&args.data)?;
    // Deleted when dropped; what a killed run left is found by its name.
    let prefix = format!("run-{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&args.data)?;
    let folder_path = std::path::absolute(folder.path())?;
    let began = report::Machine::look();
    story.say(format!("{} cores, load {}", began.cores, began.load_average));
    story.say("the floor of this machine, before");
    let floor_before = floor(&meridian, &folder_path, None).await?;
    let loads = meridian_loads(&args, &story, &meridian, &folder_path).await?;
    let half = loads.last().map_or(0.0, |(_, load)| load.figure("/rate") * 1024.0);
    story.say("the floor of this machine, after");
    let floor_after = floor(&meridian, &folder_path, Some(half as u64)).await?;
    let mut compared = Vec::new();
    if !args.no_nats {
        for variant in Variant::found(&args.nats_server) {
            story.say(format!("three servers of {}", variant.name()));
            compared.push(nats_loads(&args, &story, variant, &folder_path).await?);
        }
    }
    let report = Report::new(began, floor_before, floor_after, loads, compared);
    report.write(&args.report)?;
    report.print(&args.report);
    Ok(report.is_sound())
}

/// Deletes what runs left that were killed.
fn sweep(data: &Path) -> Result<()> {
    for entry in std::fs::read_dir(data)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, _)) = name.strip_prefix("run-").and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

async fn floor(meridian: &Path, folder: &Path, paced: Option<u64>) -> Result<Value> {
    let data = folder.to_str().context("a path that is not UTF-8")?;
    let rate = paced.map(|rate| rate.max(1).to_string());
    let mut args = vec!["bench", "floor", "--output", "json", "--data", data];
    if let Some(rate) = &rate {
        args.extend(["--paced", rate]);
    }
    child::json(meridian, &args).await
}

/// Every load on Meridian, by name. The last is the one at half rate.
async fn meridian_loads(
    args: &Args,
    story: &Story,
    meridian: &Path,
    folder: &Path,
) -> Result<Vec<(&'static str, Load)>> {
    let cluster = Cluster::start(meridian, folder).await?;
    let flights = args.flights.to_str().context("a path that is not UTF-8")?;
    let seconds = format!("{}s", args.seconds);
    let counted = ["--duration", &seconds, "--verify"];
    let shapes: [(&'static str, &[&str]); 4] = [
        ("1 KiB", &["--size", "1KiB"]),
        ("128 B", &["--size", "128"]),
        ("flights", &["--file", flights]),
        ("one at a time", &["--size", "1KiB", "--producers", "1", "--in-flight", "1"]),
    ];
    let mut loads = Vec::new();
    for (name, shape) in shapes {
        story.say(format!("Meridian: {name}"));
        loads.push((name, cluster.load(&[shape, &counted].concat()).await?));
    }
    story.say(format!("Meridian: half of the highest rate for {} s", args.half_seconds));
    let rate = (loads[0].1.figure("/messages_per_s") / 2.0).max(1.0);
    let (rate_text, seconds) = (format!("{rate:.0}"), format!("{}s", args.half_seconds));
    let mut half = vec!["--size", "1KiB", "--rate", &rate_text, "--duration", &seconds];
    match rate * 1024.0 * args.half_seconds as f64 > KEPT_BYTES_MAX {
        true => half.extend(["--retention", "256MiB"]),
        false => half.push("--verify"),
    }
    loads.push(("half rate", cluster.load(&half).await?));
    cluster.stop().await?;
    for node in std::fs::read_dir(folder)?.flatten() {
        std::fs::remove_dir_all(node.path())?;
    }
    Ok(loads)
}

/// The same messages on NATS, each on one stream and on as many as Meridian has partitions.
async fn nats_loads(args: &Args, story: &Story, variant: Variant, folder: &Path) -> Result<Compared> {
    let nats = Nats::start(&variant, folder).await?;
    let duration = Duration::from_secs(args.seconds);
    let shape = |bodies: &Arc<Bodies>, streams, publishers, window| Shape {
        bodies: bodies.clone(),
        streams,
        publishers,
        window,
        warm_up: Duration::from_secs(3),
        duration,
    };
    let bodies = [
        ("1 KiB", Arc::new(Bodies::random(1024))),
        ("128 B", Arc::new(Bodies::random(128))),
        ("flights", Arc::new(Bodies::lines(&args.flights)?)),
    ];
    let mut outcomes: Vec<(&'static str, Outcome)> = Vec::new();
    for (name, bodies) in &bodies {
        for streams in [1, 6] {
            let outcome = nats.load(&shape(bodies, streams, 2, args.nats_window)).await?;
            story.say(format!(
                "  {name}, {streams} streams: {:.0} messages/s, {:.2} MB/s, {} errors",
                outcome.messages_per_s, outcome.mb_per_s, outcome.errors
            ));
            outcomes.push((name, outcome));
        }
    }
    let outcome = nats.load(&shape(&bodies[0].1, 1, 1, 1)).await?;
    story.say(format!("  one at a time: p50 {:.0} us", outcome.p50_us));
    outcomes.push(("one at a time", outcome));
    nats.stop().await?;
    for server in std::fs::read_dir(folder)?.flatten() {
        std::fs::remove_dir_all(server.path())?;
    }
    Ok(Compared { variant, outcomes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_runs_left_is_swept() {
        let data = tempfile::tempdir().unwrap();
        let living = format!("run-{}-x", std::process::id());
        for name in [living.as_str(), "run-4194999-x", "run-mine", "report.json"] {
            std::fs::create_dir(data.path().join(name)).unwrap();
        }
        sweep(data.path()).unwrap();
        let left = std::fs::read_dir(data.path()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["report.json", living.as_str(), "run-mine"]);
    }
}
