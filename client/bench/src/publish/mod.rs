//! `meridian bench publish`: load through the SDK, measured from outside.

mod bodies;
mod ledger;
mod load;
mod report;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_cli::GlobalArgs;
use meridian_cli::units::period;
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, Codec, Producer, Retention};
use serde::Serialize;

use crate::units::{self, Rate};
use crate::{BenchError, table};
use bodies::Bodies;
use load::{Plan, Tally};
use report::Report;

pub(crate) const EXAMPLES: &str = "\
Examples:
  meridian bench publish                                      as fast as the cluster takes 1 KiB messages
  meridian bench publish --rate 20000 --duration 5m           a schedule; latency from the intended times
  meridian bench publish --in-flight 1 --producers 1          one message at a time
  meridian bench publish --file flights.ndjson --verify       lines of a file, each checked afterwards

With a rate, latency counts from the time a message was due, so a stall of the cluster shows in every message
it delayed. With --rate max it counts from the call that sends (service time), which depends on --buffer.
With --keys a partition has its messages by chance, and its acks come in no order with those of others: what is
reported as latency then includes waiting for messages that were sent before, elsewhere.
A topic is created for the run and deleted after it.";

/// How long each message is tried unless --timeout says otherwise.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of `bench publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The topic to create for the run, and to delete after it [default: a name of its own]
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
    /// Copies of each partition; 0: three, or as many as there are nodes
    #[arg(long, default_value_t = 0)]
    replication: u32,
    /// Producers that send at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    producers: u32,
    /// Random, incompressible messages of this size
    #[arg(long, default_value = "1KiB", value_name = "BYTES", value_parser = units::size)]
    size: usize,
    /// Publish the lines of this file instead, over and over
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    file: Option<PathBuf>,
    /// Give each message one of so many keys, at random, and so spread them over all partitions
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..))]
    keys: Option<u32>,
    /// The compression [default: none for random messages, lz4 for lines]
    #[arg(long, value_enum)]
    codec: Option<CodecArg>,
    /// Messages a second over all producers, or max
    #[arg(long, default_value = "max", value_parser = units::rate)]
    rate: Rate,
    /// Messages of each producer that may be unanswered [default: what --buffer holds]
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Bytes of unanswered messages that a producer may hold
    #[arg(long, default_value = "32MiB", value_name = "BYTES", value_parser = units::size)]
    buffer: usize,
    /// Bytes of messages in a batch
    #[arg(long, default_value = "512KiB", value_name = "BYTES", value_parser = units::size)]
    batch: usize,
    /// How long a message may wait for others before its batch goes
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = period)]
    linger: Duration,
    /// Time before anything counts
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = period)]
    warm_up: Duration,
    /// Time that counts
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = period)]
    duration: Duration,
    /// Read every message back and compare it with what was acknowledged
    #[arg(long, conflicts_with = "retention")]
    verify: bool,
    /// Keep no more than this of each partition, so that long runs do not fill the disk
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    retention: Option<usize>,
    /// Do not delete the topic
    #[arg(long)]
    keep: bool,
    /// What random messages are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A compression by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum CodecArg {
    None,
    Lz4,
    Zstd,
}

pub(crate) async fn run(args: PublishArgs, global: &GlobalArgs) -> Result<(), BenchError> {
    let bodies = match &args.file {
        Some(file) => Bodies::lines(file, args.producers)?,
        None => Bodies::Random { seed: args.seed, size: args.size },
    };
    let client = global.connect().await?;
    let topic = args.topic.clone().unwrap_or_else(own_name);
    let retention = Retention { bytes: args.retention.map(|bytes| bytes as u64), ..Retention::default() };
    let new = NewTopic {
        name: topic.clone(),
        partitions: args.partitions,
        replication: args.replication,
        retention,
    };
    client.admin().create_topic(new).await?;
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
        Err(BenchError::Local("interrupted".into()))
    };
    let outcome = tokio::select! {
        outcome = Box::pin(measure(&args, global, &client, &topic, bodies)) => outcome,
        error = interrupted => error,
    };
    if !args.keep {
        client.admin().delete_topic(&topic).await?;
    }
    let report = outcome?;
    table::print(global.output, &report.table(), &report)?;
    report.judge()
}

async fn measure(
    args: &PublishArgs,
    global: &GlobalArgs,
    client: &Client,
    topic: &str,
    bodies: Bodies,
) -> Result<Report, BenchError> {
    let mut producers = Vec::new();
    for _ in 0..args.producers {
        producers.push(open(args, global, client, topic).await?);
    }
    let begin = Instant::now() + Duration::from_millis(20);
    let warm = begin + args.warm_up;
    let plan = Arc::new(Plan {
        bodies,
        rate: args.rate,
        keys: args.keys,
        producers: args.producers,
        in_flight: args.in_flight.map(|messages| messages as usize),
        sticky_bytes: args.batch,
        begin,
        warm,
        end: warm + args.duration,
    });
    let tally = Arc::new(Tally::new());
    let bar = progress(plan.end - begin);
    load::run(&plan, &tally, producers).await?;
    let answered = plan.end.elapsed();
    bar.finish_and_clear();
    let verified = match args.verify {
        false => None,
        true => {
            let ledger = tally.ledger.lock().clone();
            Some(verify::verify(client, topic, args.partitions, Arc::clone(&plan), &ledger).await?)
        }
    };
    Ok(Report::new(args, topic, &tally, answered, verified))
}

async fn open(
    args: &PublishArgs,
    global: &GlobalArgs,
    client: &Client,
    topic: &str,
) -> Result<Producer, BenchError> {
    let producer = client
        .producer(topic)
        .codec(match args.codec() {
            CodecArg::None => Codec::None,
            CodecArg::Lz4 => Codec::Lz4,
            CodecArg::Zstd => Codec::Zstd,
        })
        .batch_bytes_max(args.batch)
        .linger(args.linger)
        .buffer_bytes_max(args.buffer)
        .delivery_timeout(global.timeout.unwrap_or(DELIVERY_TIMEOUT));
    Ok(producer.build().await?)
}

impl PublishArgs {
    fn codec(&self) -> CodecArg {
        let usual = if self.file.is_some() { CodecArg::Lz4 } else { CodecArg::None };
        self.codec.unwrap_or(usual)
    }
}

/// A name that no other run has.
fn own_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench-{:x}-{:x}", since.as_millis(), std::process::id())
}

/// The seconds of the run; drawn only where a person watches.
fn progress(takes: Duration) -> ProgressBar {
    let bar = ProgressBar::new(takes.as_secs().max(1));
    let style = ProgressStyle::with_template("publishing {bar:40} {pos}/{len} s");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (ticking, length) = (bar.clone(), takes.as_secs());
    tokio::spawn(async move {
        for second in 0..=length {
            ticking.set_position(second);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    bar
}
