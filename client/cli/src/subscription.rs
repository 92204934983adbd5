//! `meridian subscription`.

mod print;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use meridian_sdk::admin::{NewSubscription, SubscriptionSettings};
use meridian_sdk::{Backoff, Client, Start, SubscriptionKind};
use serde_json::{Value, json};

use crate::table::list;
use crate::{Console, Failure, GlobalArgs, units};

/// What can be done with the subscriptions of a topic. A topic is TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC.
#[derive(Clone, Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// Create a subscription of a topic
    Create {
        /// TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC
        topic: String,
        /// The name of the subscription
        name: String,
        /// Who gets which message; it cannot be changed later
        #[arg(long, value_enum, default_value_t = Kind::Shared)]
        kind: Kind,
        /// Where it begins: earliest, latest, a time such as 2026-01-31T12:00:00Z, an age such as -1h; in a topic of one
        /// partition also an offset
        #[arg(long, default_value = "latest", value_parser = units::start, allow_hyphen_values = true)]
        from: Start,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List the subscriptions of a topic
    List {
        /// The topic
        topic: String,
    },
    /// Show a subscription's settings, and how far it is in each partition
    Describe {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
    },
    /// Change the settings of a subscription
    Update {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Delete a subscription with all that was acked; a later one of the same name is another one
    Delete {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
    },
    /// Go on elsewhere: everything from there on is delivered again
    Seek {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
        /// Where to: earliest, latest, a time such as 2026-01-31T12:00:00Z, an age such as -1h, or an offset of one
        /// partition
        #[arg(long, value_parser = units::start, allow_hyphen_values = true)]
        to: Start,
        /// Only this partition
        #[arg(long)]
        partition: Option<u32>,
    },
    /// Ack the next messages of a partition unseen
    Skip {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
        /// The partition
        #[arg(long)]
        partition: u32,
        /// How many messages
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        messages: u64,
    },
    /// Go on behind the newest message
    Clear {
        /// The topic
        topic: String,
        /// The subscription
        name: String,
        /// Only this partition
        #[arg(long)]
        partition: Option<u32>,
    },
}

/// Who gets which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One consumer gets everything; a second one is refused
    Exclusive,
    /// One consumer of each partition gets everything; the others stand by
    Failover,
    /// Each message goes to one of the consumers
    Shared,
    /// Each key goes to one of the consumers
    KeyShared,
}

impl From<Kind> for SubscriptionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Exclusive => SubscriptionKind::Exclusive,
            Kind::Failover => SubscriptionKind::Failover,
            Kind::Shared => SubscriptionKind::Shared,
            Kind::KeyShared => SubscriptionKind::KeyShared,
        }
    }
}

/// How the wait before a message is delivered again grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Growth {
    /// By the same time with each attempt
    Linear,
    /// Doubled with each attempt
    Exponential,
}

/// A number of attempts; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempts(Option<u32>);

fn attempts(text: &str) -> Result<Attempts, String> {
    match text {
        "none" => Ok(Attempts(None)),
        text => match text.parse() {
            Ok(most @ 1..) => Ok(Attempts(Some(most))),
            _ => Err("write a number from 1 on, or none to try for ever".into()),
        },
    }
}

/// Settings; what is not said stays as it is, in a new subscription as by default.
#[derive(Clone, Debug, Args)]
pub struct SettingsArgs {
    /// How long a consumer may hold a message without a word, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    lease: Option<Duration>,
    /// How long a message that failed waits for the first time, such as 1s
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    backoff: Option<Duration>,
    /// The longest such wait, such as 1m
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    backoff_max: Option<Duration>,
    /// How the wait grows
    #[arg(long, value_enum)]
    backoff_growth: Option<Growth>,
    /// After so many failed attempts a message goes to the dead-letter topic; none: it is tried for ever
    #[arg(long, value_name = "NUMBER", value_parser = attempts)]
    attempts: Option<Attempts>,
    /// Where messages go after their last attempt; none: nowhere
    #[arg(long, value_name = "TOPIC")]
    dead_letter: Option<String>,
    /// Where messages go that are to be tried again later; none: they stay where they are
    #[arg(long, value_name = "TOPIC")]
    retry: Option<String>,
    /// Whether retention waits for it
    #[arg(long, value_name = "BOOL")]
    durable: Option<bool>,
    /// Delete it after so long without a consumer, such as 7d; none: never
    #[arg(long, value_name = "DURATION", value_parser = units::age)]
    idle: Option<units::Bound>,
}

impl SettingsArgs {
    fn apply(self, mut settings: SubscriptionSettings) -> SubscriptionSettings {
        let rules = &mut settings.rules;
        let ms = |duration: Duration| duration.as_millis() as u64;
        rules.lease_ms = self.lease.map_or(rules.lease_ms, ms);
        let (growth, first, most) = match rules.backoff {
            Backoff::Linear { step_ms, max_ms } => (Growth::Linear, step_ms, max_ms),
            Backoff::Exponential { first_ms, max_ms } => (Growth::Exponential, first_ms, max_ms),
        };
        let (first, most) = (self.backoff.map_or(first, ms), self.backoff_max.map_or(most, ms));
        rules.backoff = match self.backoff_growth.unwrap_or(growth) {
            Growth::Linear => Backoff::Linear { step_ms: first, max_ms: most },
            Growth::Exponential => Backoff::Exponential { first_ms: first, max_ms: most },
        };
        rules.attempts_max = self.attempts.map_or(rules.attempts_max, |attempts| attempts.0);
        let topic = |said: Option<String>, before: Option<String>| match said {
            None => before,
            Some(none) if none == "none" => None,
            topic => topic,
        };
        settings.dead_letter_topic = topic(self.dead_letter, settings.dead_letter_topic);
        settings.retry_topic = topic(self.retry, settings.retry_topic);
        settings.durable = self.durable.unwrap_or(settings.durable);
        settings.idle_ms_max = self.idle.map_or(settings.idle_ms_max, |bound| bound.0);
        settings
    }
}

pub(crate) async fn run(
    command: SubscriptionCommand,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let admin = client.admin();
    let (human, json) = match command {
        SubscriptionCommand::Create { topic, name, kind, from, settings } => {
            let mut defaults = SubscriptionSettings::default();
            defaults.rules.kind = kind.into();
            let new = NewSubscription { topic, name, settings: settings.apply(defaults), start: from };
            let created = admin.create_subscription(new).await?;
            warn_pending(&created.pending_partitions, "do not know it yet", global, console);
            (print::created(&created), print::changed_json(&created))
        }
        SubscriptionCommand::List { topic } => {
            let found = admin.list_subscriptions(&topic).await?;
            let json = json!({ "subscriptions": found.iter().map(print::to_json).collect::<Vec<_>>() });
            (print::table(&topic, &found), json)
        }
        SubscriptionCommand::Describe { topic, name } => {
            let found = admin.get_subscription(&topic, &name).await?;
            (print::describe(&found), print::standings_json(&found))
        }
        SubscriptionCommand::Update { topic, name, settings } => {
            let before = admin.get_subscription(&topic, &name).await?.subscription;
            let settings = settings.apply(before.settings);
            let changed = admin.update_subscription(&topic, &name, &settings, Some(&before.etag)).await?;
            warn_pending(&changed.pending_partitions, "do not follow the change yet", global, console);
            (print::settings(&changed.subscription), print::changed_json(&changed))
        }
        SubscriptionCommand::Delete { topic, name } => {
            let deleted = admin.delete_subscription(&topic, &name, None).await?;
            warn_pending(&deleted.pending_partitions, "have not dropped it yet, and will", global, console);
            let json = json!({
                "topic": topic,
                "subscription": name,
                "control_index": deleted.control_index,
                "pending_partitions": deleted.pending_partitions,
            });
            (format!("deleted subscription {name} of {topic}"), json)
        }
        moving => moved(moving, client).await?,
    };
    Ok(console.result(global.output, &human, &json)?)
}

/// Seek, skip and clear.
async fn moved(command: SubscriptionCommand, client: &Client) -> Result<(String, Value), Failure> {
    let admin = client.admin();
    let moved = match command {
        SubscriptionCommand::Seek { topic, name, to, partition } => {
            admin.seek_subscription(&topic, &name, partition, to).await?
        }
        SubscriptionCommand::Skip { topic, name, partition, messages } => {
            vec![admin.skip_messages(&topic, &name, partition, messages).await?]
        }
        SubscriptionCommand::Clear { topic, name, partition } => {
            admin.clear_backlog(&topic, &name, partition).await?
        }
        _ => Vec::new(),
    };
    Ok((print::moved(&moved), print::moved_json(&moved)))
}

fn warn_pending(partitions: &[u32], what: &str, global: &GlobalArgs, console: &mut Console) {
    if !partitions.is_empty() {
        let numbers = list(partitions.iter().map(|p| u64::from(*p)));
        let text = format!("partitions {numbers} {what}; see `meridian subscription describe`");
        console.warn(global.output, &text);
    }
}
