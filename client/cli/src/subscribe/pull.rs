//! `meridian pull`, `meridian ack` and `meridian nack`: messages by single calls, for scripts.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use meridian_sdk::{Client, Error};
use serde_json::json;

use super::print;
use crate::{Console, Failure, GlobalArgs, Output, units};

/// Options of `pull`. What is not acked before its lease ends is delivered again.
#[derive(Clone, Debug, Args)]
pub struct PullArgs {
    /// The topic: TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC
    topic: String,
    /// The name of the subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// The most messages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    messages_max: u32,
    /// How long to wait for the first one
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = units::period)]
    wait: Duration,
    /// Only from this partition
    #[arg(long)]
    partition: Option<u32>,
}

/// Options of `ack` and `nack`.
#[derive(Clone, Debug, Args)]
pub struct SettleArgs {
    /// The topic that was pulled from
    topic: String,
    /// The name of the subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// The ids that `pull` printed
    #[arg(required = true, value_name = "ID")]
    ack_ids: Vec<String>,
}

pub(crate) async fn pull(
    args: PullArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let PullArgs { topic, subscription, messages_max, wait, partition } = args;
    for pulled in client.pull(&topic, &subscription, messages_max, wait, partition).await? {
        match global.output {
            Output::Json => console.line(print::pulled(&pulled).to_string().as_bytes())?,
            Output::Human => {
                let mut line = print::to_hex(&pulled.ack_id).into_bytes();
                line.push(b'\t');
                line.extend_from_slice(&pulled.body);
                console.line(&line)?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn ack(
    args: SettleArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let outcomes = client.acknowledge(&args.topic, &args.subscription, ids(&args)?).await?;
    tell("acked", &args, outcomes, global, console)
}

pub(crate) async fn nack(
    args: SettleArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let outcomes = client.refuse(&args.topic, &args.subscription, ids(&args)?).await?;
    tell("given back", &args, outcomes, global, console)
}

fn ids(args: &SettleArgs) -> Result<Vec<Bytes>, Failure> {
    let parse = |text: &String| {
        let wrong =
            || Failure::local(format!("{text:?} is no id"), "give the ids that `meridian pull` printed");
        print::from_hex(text).map(Bytes::from).ok_or_else(wrong)
    };
    args.ack_ids.iter().map(parse).collect()
}

fn tell(
    what: &str,
    args: &SettleArgs,
    outcomes: Vec<Result<(), Error>>,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused: Vec<(&String, Error)> = args
        .ack_ids
        .iter()
        .zip(outcomes)
        .filter_map(|(id, outcome)| outcome.err().map(|error| (id, error)))
        .collect();
    let each = refused
        .iter()
        .map(|(id, error)| json!({ "ack_id": id, "reason": error.reason(), "message": error.to_string() }));
    let json = json!({ "done": done, "refused": each.collect::<Vec<_>>() });
    console.result(global.output, &format!("{what}: {done} of {}", args.ack_ids.len()), &json)?;
    match refused.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}
