//! The demonstration: three nodes, 20,000 flights, leaders killed on the way, and every flight accounted for.

mod flights;
mod kills;
mod publishing;
mod readback;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use meridian_harness::cluster::{Cluster, Setup};
use meridian_harness::run::Run;
use meridian_sdk::admin::NewTopic;

use crate::report::Report;

/// Publish 20,000 flights to three nodes, kill leaders on the way, and check that each arrives exactly once.
#[derive(Parser)]
struct Args {
    /// The flights, one JSON object a line
    #[arg(long, default_value = "examples/data/flights-20k.ndjson")]
    flights: PathBuf,
    /// Where the report goes
    #[arg(long, default_value = "target/demo/report.json")]
    report: PathBuf,
    /// Flights a second, all producers together
    #[arg(long, default_value_t = 1_500)]
    rate: u64,
    /// Leaders to kill
    #[arg(long, default_value_t = 4)]
    kills: u32,
}

const TOPIC: &str = "flights";
const PARTITIONS: u32 = 6;
const PRODUCERS: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what happens, with the seconds since the beginning.
pub(crate) struct Story(Instant);

impl Story {
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("{:6.1} s  {}", self.0.elapsed().as_secs_f64(), line.as_ref());
    }
}

async fn run(args: Args) -> Result<bool> {
    let story = Arc::new(Story(Instant::now()));
    let flights = flights::load(&args.flights)?;
    let keys = flights::keys(&flights);
    story.say(format!("{} flights from {} airports", flights.len(), keys));
    let run = Arc::new(Run::begin("demo")?);
    story.say("starting three nodes, each a process of its own");
    let cluster = Cluster::start(Arc::clone(&run), Setup::default()).await?;
    for id in cluster.ids() {
        story.say(format!("  node {id} listens at {}", cluster.address(id)));
    }
    let client = cluster.client(1)?;
    client.admin().create_topic(NewTopic::new(TOPIC, PARTITIONS)).await.context("create the topic")?;
    story.say(format!("topic {TOPIC:?}: {PARTITIONS} partitions, three copies of each"));
    let progress = Arc::new(publishing::Progress::new(flights.len() as u64));
    let began = Instant::now();
    let (published, killed) = tokio::join!(
        publishing::publish(&cluster, &flights, args.rate, Arc::clone(&progress)),
        kills::kill_leaders(&cluster, &story, args.kills, Arc::clone(&progress)),
    );
    progress.finish();
    let published = published?;
    let killed = killed?;
    let publishing_s = began.elapsed().as_secs_f64();
    story.say(format!(
        "all {} flights are acknowledged; {} leaders were killed with -9, the producers saw {} errors",
        published.acked,
        killed.len(),
        published.errors
    ));
    let replicas = readback::read_all(&cluster, &story, TOPIC, PARTITIONS).await?;
    let check = meridian_checker::check_delivery(&flights::records(&flights), &replicas.records);
    let report = Report::new(flights.len(), keys, publishing_s, &published, killed, &replicas, check);
    report.write(&args.report)?;
    report.print(&args.report);
    drop(cluster);
    tokio::time::timeout(Duration::from_secs(5), async { drop(run) }).await?;
    Ok(report.passed)
}
