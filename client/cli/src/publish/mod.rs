//! `meridian publish`.

mod outcome;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, Codec, Message, Producer, Reason};
use tokio::time::Instant;

use crate::{Console, Failure, GlobalArgs};
use outcome::Collector;
use source::Source;

/// How long each message is tried unless --timeout says otherwise.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of `publish`. One message for each line; the line end is not part of it.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The topic: TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC
    topic: String,
    /// The key of every message
    #[arg(long, conflicts_with = "key_field")]
    key: Option<String>,
    /// The lines are JSON objects: take the key of each from this field
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
    /// Read lines from this file [default: standard input]
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    file: Option<PathBuf>,
    /// A message; repeatable
    #[arg(long, value_name = "TEXT")]
    message: Vec<String>,
    /// A producer name of its own: fences any other producer of this name
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The compression
    #[arg(long, value_enum, default_value_t = CodecArg::Lz4)]
    codec: CodecArg,
    /// Create the topic first if it does not exist
    #[arg(long)]
    create: bool,
    /// How many partitions a topic made by --create gets
    #[arg(long, requires = "create", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
}

/// A compression by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CodecArg {
    None,
    Lz4,
    Zstd,
}

impl From<CodecArg> for Codec {
    fn from(codec: CodecArg) -> Self {
        match codec {
            CodecArg::None => Codec::None,
            CodecArg::Lz4 => Codec::Lz4,
            CodecArg::Zstd => Codec::Zstd,
        }
    }
}

pub(crate) async fn run(
    args: PublishArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let mut source = Source::open(&args)?;
    if args.create {
        ensure_topic(&args, client).await?;
    }
    let mut builder = client.producer(&args.topic).codec(args.codec.into());
    builder = builder.delivery_timeout(global.timeout.unwrap_or(DELIVERY_TIMEOUT));
    if let Some(name) = &args.producer {
        builder = builder.name(name);
    }
    let producer = builder.build().await?;
    let bar = progress(&source, console);
    let started = Instant::now();
    let collector = Collector::start();
    let input = feed(&mut source, &producer, &collector, &bar).await;
    let delivered = collector.finish().await;
    bar.finish_and_clear();
    let (human, json) = delivered.summary(&args.topic, started.elapsed());
    console.result(global.output, &human, &json)?;
    if let Some(error) = delivered.first_error {
        return Err(error.into());
    }
    input
}

async fn ensure_topic(args: &PublishArgs, client: &Client) -> Result<(), Failure> {
    match client.admin().create_topic(NewTopic::new(&args.topic, args.partitions)).await {
        Ok(_) => Ok(()),
        Err(error) if error.refusal() == Some(Reason::AlreadyExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends every line until the input ends, a delivery fails, or the user interrupts. What was taken in is
/// delivered whichever it is.
async fn feed(
    source: &mut Source,
    producer: &Producer,
    collector: &Collector,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while !collector.has_failed() {
        let message: Message = tokio::select! {
            biased;
            _ = &mut interrupt => return Err(Failure::local("interrupted", "what was published is in the summary")),
            next = source.next() => match next? {
                Some(message) => message,
                None => return Ok(()),
            },
        };
        let bytes = message.body.len() as u64;
        let delivery = tokio::select! {
            biased;
            _ = &mut interrupt => return Err(Failure::local("interrupted", "what was published is in the summary")),
            delivery = producer.send(message) => delivery?,
        };
        collector.add(delivery, bytes);
        bar.inc(bytes + 1);
    }
    Ok(())
}

/// A bar where the input's size is known, a count of bytes where it is not; nothing unless a person watches.
fn progress(source: &Source, console: &Console) -> ProgressBar {
    if !console.watched {
        return ProgressBar::hidden();
    }
    let (bar, template) = match source.total_bytes() {
        Some(total) => {
            (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes} {binary_bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
