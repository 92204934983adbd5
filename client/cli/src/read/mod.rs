//! `meridian read`.

pub(crate) mod print;

use clap::Args;
use futures::FutureExt;
use meridian_sdk::{Client, Item, NodeId, Reader, Start};

use crate::{Console, Failure, GlobalArgs, Output, units};
use print::Format;

/// Options of `read`. Without --partition all partitions are read, in no order among each other.
#[derive(Clone, Debug, Args)]
pub struct ReadArgs {
    /// The topic: TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC
    topic: String,
    /// Only this partition
    #[arg(long)]
    partition: Option<u32>,
    /// Where to begin: earliest, latest, an offset such as 42, a time such as 2026-01-31T12:00:00Z or
    /// 1769860800000ms, or an age such as -1h
    #[arg(long, default_value = "earliest", allow_hyphen_values = true, value_parser = units::start)]
    from: Start,
    /// Wait for more at the end
    #[arg(long)]
    follow: bool,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Read what the copy on this node has applied, instead of asking the leader
    #[arg(long, value_name = "NODE")]
    replica: Option<u64>,
    /// What is printed of a message [default: body; with --output json: json]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(crate) async fn run(
    args: ReadArgs,
    client: &Client,
    console: &mut Console,
    global: &GlobalArgs,
) -> Result<(), Failure> {
    let format = args.format.unwrap_or(match global.output {
        Output::Human => Format::Body,
        Output::Json => Format::Json,
    });
    let mut builder = client.reader(&args.topic).start(args.from).follow(args.follow);
    if let Some(partition) = args.partition {
        builder = builder.partition(partition);
    }
    if let Some(count) = args.count {
        builder = builder.limit(count);
    }
    if let Some(node) = args.replica {
        builder = builder.replica(NodeId(node));
    }
    if let Some(timeout) = global.timeout {
        builder = builder.patience(timeout);
    }
    let reader = builder.open().await?;
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        outcome = print_all(reader, format, global.output, console) => outcome,
    }
}

/// Output is handed on whenever nothing more is at hand, so that a follower sees each message at once.
async fn print_all(
    mut reader: Reader,
    format: Format,
    output: Output,
    console: &mut Console,
) -> Result<(), Failure> {
    loop {
        let at_hand = reader.next().now_or_never();
        let next = match at_hand {
            Some(next) => next,
            None => {
                console.flush()?;
                reader.next().await
            }
        };
        match next.transpose()? {
            None => return Ok(()),
            Some(Item::Record(record)) => console.line(&format.of(&record))?,
            Some(Item::Skipped { partition, from, to }) => {
                console.warn(
                    output,
                    &format!("partition {partition}: retention has removed offsets {from} to {to}"),
                );
            }
        }
    }
}
