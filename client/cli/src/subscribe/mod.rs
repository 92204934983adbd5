//! `meridian subscribe`.

mod acking;
mod lines;
mod print;
pub(crate) mod pull;

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_sdk::consumer::{Consumer, Delivery, Kind};
use meridian_sdk::{Client, ConsumerBuilder, Error, Start};

use crate::{Console, Failure, GlobalArgs, Output, units};
use acking::Acking;
use lines::{Lines, Verdict};
use print::Format;

/// Messages that are printed before the output is handed on, at most.
const UNFLUSHED_MAX: u64 = 256;

/// Options of `subscribe`. Ends at --messages-max, after --idle without a message, or when it is interrupted; what was
/// not acked by then is delivered to others.
#[derive(Clone, Debug, Args)]
pub struct SubscribeArgs {
    /// Topics: TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC; one that ends in * means all that begin so
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// The name of the subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// Who of its consumers gets which message
    #[arg(long, value_enum, default_value_t = KindArg::Shared)]
    kind: KindArg,
    /// Create the subscription where a topic has none of that name
    #[arg(long)]
    create: bool,
    /// Where one that is created begins: earliest, latest, an offset, a time, or an age such as -1h [default: latest]
    #[arg(long, requires = "create", allow_hyphen_values = true, value_parser = units::start)]
    from: Option<Start>,
    /// For one that is created: how long a consumer may hold a message without a word [default: 30s]
    #[arg(long, requires = "create", value_name = "DURATION", value_parser = units::duration)]
    lease: Option<Duration>,
    /// For one that is created: after so many failed attempts a message is dead
    #[arg(long, requires = "create", requires = "dead_letter", value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..))]
    attempts: Option<u32>,
    /// For one that is created: the topic for dead messages
    #[arg(long, requires = "attempts", value_name = "TOPIC")]
    dead_letter: Option<String>,
    /// Failover: the lowest of those that stand by takes over
    #[arg(long, default_value_t = 0)]
    priority: u32,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages_max: Option<u64>,
    /// End when nothing came for so long
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    idle: Option<Duration>,
    /// What becomes of a message that was printed
    #[arg(long, value_enum, default_value_t = AckArg::Auto)]
    ack: AckArg,
    /// What is printed of a message [default: body; with --output json: json]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// A kind by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Exclusive,
    Failover,
    Shared,
    KeyShared,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Exclusive => Kind::Exclusive,
            KindArg::Failover => Kind::Failover,
            KindArg::Shared => Kind::Shared,
            KindArg::KeyShared => Kind::KeyShared,
        }
    }
}

/// What becomes of a message that was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AckArg {
    /// It is acked
    Auto,
    /// Nothing: it is delivered to others when this ends
    None,
    /// Standard input decides: a line for each message, `ack` or empty, `nack`, or `extend` for more time
    EachLine,
}

pub(crate) async fn run(
    args: SubscribeArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let format = args.format.unwrap_or(match global.output {
        Output::Human => Format::Body,
        Output::Json => Format::Json,
    });
    let consumer = set_up(&args, client, global).open().await?;
    let bar = progress(console);
    let mut printing = Printing {
        acking: Acking::default(),
        lines: (args.ack == AckArg::EachLine).then(Lines::standard),
        args,
        consumer,
        format,
        bar,
        printed: 0,
        unflushed: Vec::new(),
    };
    let interrupt = tokio::signal::ctrl_c();
    let outcome = tokio::select! {
        biased;
        _ = interrupt => Ok(()),
        outcome = printing.run(console) => outcome,
    };
    let flushed = printing.hand_on(console);
    printing.bar.finish_and_clear();
    let lost = printing.acking.finish().await;
    printing.consumer.close().await;
    if let Some((count, error)) = lost {
        let text = format!("{count} of the printed messages could not be acked and come again: {error}");
        console.warn(global.output, &text);
    }
    outcome.and(flushed)
}

fn set_up(args: &SubscribeArgs, client: &Client, global: &GlobalArgs) -> ConsumerBuilder {
    let mut builder = client.consumer(args.topics.iter().cloned()).subscription(&args.subscription);
    builder = builder.kind(args.kind.into()).create(args.create).priority(args.priority);
    // A person who decides about each message may take longer than a lease.
    builder = builder.extend_leases(args.ack == AckArg::EachLine);
    if let Some(start) = args.from {
        builder = builder.start(start);
    }
    if let Some(lease) = args.lease {
        builder = builder.lease(lease);
    }
    if let (Some(attempts), Some(topic)) = (args.attempts, &args.dead_letter) {
        builder = builder.dead_letters(attempts, topic);
    }
    let at_once = if args.ack == AckArg::EachLine { 1 } else { args.messages_max.unwrap_or(u64::MAX) };
    builder = builder.queue_messages_max(at_once.min(1_000));
    match global.timeout {
        Some(timeout) => builder.patience(timeout),
        None => builder,
    }
}

/// Prints messages and has them acked.
struct Printing {
    args: SubscribeArgs,
    consumer: Consumer,
    acking: Acking,
    lines: Option<Lines>,
    format: Format,
    bar: ProgressBar,
    printed: u64,
    /// Printed, and perhaps not seen by anybody yet.
    unflushed: Vec<Delivery>,
}

impl Printing {
    async fn run(&mut self, console: &mut Console) -> Result<(), Failure> {
        while self.args.messages_max.is_none_or(|max| self.printed < max) {
            let Some(delivery) = self.next(console).await? else { return Ok(()) };
            console.line(&self.format.of(&delivery))?;
            self.printed += 1;
            self.bar.inc(1);
            self.unflushed.push(delivery);
            if self.lines.is_some() {
                self.hand_on(console)?;
                if !self.decide().await? {
                    return Ok(());
                }
            } else if self.unflushed.len() as u64 >= UNFLUSHED_MAX {
                self.hand_on(console)?;
            }
            self.acking.make_room().await;
        }
        Ok(())
    }

    /// The next message. Output is handed on whenever nothing more is at hand.
    async fn next(&mut self, console: &mut Console) -> Result<Option<Delivery>, Failure> {
        let next = match self.consumer.next().now_or_never() {
            Some(next) => next,
            None => {
                self.hand_on(console)?;
                let idle = self.args.idle;
                let waited = tokio::time::timeout(idle.unwrap_or(Duration::MAX), self.consumer.next());
                match waited.await {
                    Ok(next) => next,
                    Err(_) => return Ok(None),
                }
            }
        };
        Ok(next.transpose()?)
    }

    /// What is printed is handed on; only then is it acked.
    fn hand_on(&mut self, console: &mut Console) -> Result<(), Failure> {
        self.bar.suspend(|| console.flush())?;
        let backlog: u64 = self.consumer.lag().iter().map(|lag| lag.backlog_messages).sum();
        self.bar.set_message(backlog.to_string());
        let printed = std::mem::take(&mut self.unflushed);
        match self.args.ack {
            AckArg::Auto => printed.iter().for_each(|delivery| self.acking.add(self.consumer.ack(delivery))),
            AckArg::EachLine => self.unflushed = printed,
            AckArg::None => {}
        }
        Ok(())
    }

    /// A line of input decides about the message that was printed last. `false`: there are no more lines.
    async fn decide(&mut self) -> Result<bool, Failure> {
        let (Some(lines), Some(delivery)) = (&mut self.lines, self.unflushed.pop()) else { return Ok(false) };
        loop {
            match lines.next().await? {
                None => return Ok(false),
                Some(Verdict::Ack) => self.acking.add(self.consumer.ack(&delivery)),
                Some(Verdict::Nack) => self.acking.add(self.consumer.nack(&delivery)),
                Some(Verdict::Extend) => {
                    self.acking.add(self.consumer.extend(&delivery));
                    continue;
                }
            }
            return Ok(true);
        }
    }
}

/// How many messages came and how many wait; nothing unless a person watches.
fn progress(console: &Console) -> ProgressBar {
    if !console.watched {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let template = "{spinner} {pos} messages, {per_sec}, {msg} behind";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The first refusal, and how many there were.
type Lost = Option<(u64, Error)>;
