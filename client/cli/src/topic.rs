//! `meridian topic`.

use clap::{Args, Subcommand};
use meridian_sdk::admin::{NewTopic, TopicInfo};
use meridian_sdk::{Client, Retention};
use serde_json::{Value, json};

use crate::table::{list, optional, render};
use crate::{Console, Failure, GlobalArgs, units};

/// What can be done with topics. A name is TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create {
        /// TOPIC, NAMESPACE/TOPIC or TENANT/NAMESPACE/TOPIC
        name: String,
        /// How many partitions
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// Copies of each partition [default: three, or as many as there are nodes]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        replication: Option<u32>,
        #[command(flatten)]
        retention: RetentionArgs,
    },
    /// List the topics of a tenant
    List {
        /// The tenant [default: default]
        #[arg(long, default_value = "")]
        tenant: String,
        /// Only this namespace
        #[arg(long, default_value = "")]
        namespace: String,
    },
    /// Show a topic's settings and where its partitions live
    Describe {
        /// The topic
        name: String,
    },
    /// Change what a topic keeps
    Update {
        /// The topic
        name: String,
        #[command(flatten)]
        retention: RetentionArgs,
    },
    /// Delete a topic with all its messages
    Delete {
        /// The topic
        name: String,
    },
    /// Add partitions; keys re-route: the order of a key holds from then on only within its new partition
    AddPartitions {
        /// The topic
        name: String,
        /// How many there shall be in all
        #[arg(long)]
        total: u32,
    },
}

/// What a topic keeps; what is not said stays as it is, in a new topic for ever.
#[derive(Clone, Debug, Args)]
pub struct RetentionArgs {
    /// Remove messages older than this, such as 7d; none: keep for ever
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    retention_age: Option<units::Bound>,
    /// Remove the oldest messages of a partition beyond this size, such as 10GiB; none: no bound
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    retention_bytes: Option<units::Bound>,
}

impl RetentionArgs {
    fn apply(&self, before: Retention) -> Retention {
        Retention {
            age_ms: self.retention_age.map_or(before.age_ms, |bound| bound.0),
            bytes: self.retention_bytes.map_or(before.bytes, |bound| bound.0),
        }
    }
}

pub(crate) async fn run(
    command: TopicCommand,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let (human, json) = match command {
        TopicCommand::Create { name, partitions, replication, retention } => {
            let retention = retention.apply(Retention::default());
            let topic = NewTopic { name, partitions, replication: replication.unwrap_or(0), retention };
            create(topic, client, global, console).await?
        }
        TopicCommand::List { tenant, namespace } => {
            let topics = client.admin().list_topics(&tenant, &namespace).await?;
            let json = json!({ "topics": topics.iter().map(to_json).collect::<Vec<_>>() });
            (topics_table(&topics), json)
        }
        TopicCommand::Describe { name } => {
            let topic = client.admin().get_topic(&name).await?;
            (describe(&topic), to_json(&topic))
        }
        TopicCommand::Update { name, retention } => {
            let before = client.admin().get_topic(&name).await?;
            let retention = retention.apply(before.retention);
            let changed = client.admin().update_topic(&name, retention, Some(&before.etag)).await?;
            let mut json = to_json(&changed.topic);
            json["control_index"] = changed.control_index.into();
            json["pending_partitions"] = json!(changed.pending_partitions);
            warn_pending(&changed.pending_partitions, "have not confirmed the change yet", global, console);
            (describe(&changed.topic), json)
        }
        TopicCommand::Delete { name } => {
            let deleted = client.admin().delete_topic(&name).await?;
            let human = match deleted.pending {
                true => {
                    format!("deleting topic {name}: it takes no messages any more, its data is being removed")
                }
                false => format!("deleted topic {name}"),
            };
            let json =
                json!({ "topic": name, "pending": deleted.pending, "control_index": deleted.control_index });
            (human, json)
        }
        TopicCommand::AddPartitions { name, total } => {
            let added = client.admin().add_partitions(&name, total).await?;
            console.warn(global.output, &added.warning);
            let mut json = to_json(&added.topic);
            json["control_index"] = added.control_index.into();
            json["warning"] = added.warning.into();
            (describe(&added.topic), json)
        }
    };
    Ok(console.result(global.output, &human, &json)?)
}

async fn create(
    topic: NewTopic,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(String, Value), Failure> {
    let created = client.admin().create_topic(topic).await?;
    warn_pending(&created.pending_partitions, "have no leader yet", global, console);
    let mut json = to_json(&created.topic);
    json["control_index"] = created.control_index.into();
    json["pending_partitions"] = json!(created.pending_partitions);
    let topic = &created.topic;
    let (partitions, copies) = (topic.partitions.len(), topic.replication);
    let human = format!(
        "created topic {}: partitions {partitions}, copies {copies}, keeps {}",
        topic.name,
        keeps(topic)
    );
    Ok((human, json))
}

fn warn_pending(partitions: &[u32], what: &str, global: &GlobalArgs, console: &mut Console) {
    if !partitions.is_empty() {
        let numbers = list(partitions.iter().map(|p| u64::from(*p)));
        console.warn(global.output, &format!("partitions {numbers} {what}; see `meridian topic describe`"));
    }
}

/// What a topic keeps, in words.
fn keeps(topic: &TopicInfo) -> String {
    match (topic.retention.age_ms, topic.retention.bytes) {
        (None, None) => "everything".into(),
        (Some(age), None) => units::human_age(age),
        (None, Some(bytes)) => format!("{} a partition", units::human_bytes(bytes)),
        (Some(age), Some(bytes)) => {
            format!("{} and {} a partition", units::human_age(age), units::human_bytes(bytes))
        }
    }
}

/// One line for each topic.
pub(crate) fn topics_table(topics: &[TopicInfo]) -> String {
    let rows = topics.iter().map(|topic| {
        let leaderless = topic.partitions.iter().filter(|partition| partition.leader.is_none()).count();
        let state = match (topic.deleting, leaderless) {
            (true, _) => "deleting".to_string(),
            (false, 0) => "ok".to_string(),
            (false, some) => format!("{some} without leader"),
        };
        let (partitions, copies) = (topic.partitions.len().to_string(), topic.replication.to_string());
        vec![topic.name.to_string(), partitions, copies, keeps(topic), state]
    });
    match topics.is_empty() {
        true => "no topics; `meridian topic create NAME` makes one".into(),
        false => render(&["TOPIC", "PARTITIONS", "COPIES", "KEEPS", "STATE"], &rows.collect::<Vec<_>>()),
    }
}

fn describe(topic: &TopicInfo) -> String {
    let rows = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            optional(partition.leader.map(|node| node.0)),
            list(partition.replicas.iter().map(|node| node.0)),
            partition.group.0.to_string(),
            partition.log.to_string(),
        ]
    });
    let table = render(&["PARTITION", "LEADER", "REPLICAS", "GROUP", "LOG"], &rows.collect::<Vec<_>>());
    let state = if topic.deleting { ", being deleted" } else { "" };
    format!("topic {}: copies {}, keeps {}{state}\n{table}", topic.name, topic.replication, keeps(topic))
}

/// A topic as JSON.
pub(crate) fn to_json(topic: &TopicInfo) -> Value {
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.partition,
            "leader": partition.leader.map(|node| node.0),
            "replicas": partition.replicas.iter().map(|node| node.0).collect::<Vec<_>>(),
            "group": partition.group.0,
            "log": partition.log.to_string(),
        })
    });
    json!({
        "topic": topic.name.to_string(),
        "resource": topic.name.resource(),
        "replication": topic.replication,
        "retention": { "age_ms": topic.retention.age_ms, "bytes": topic.retention.bytes },
        "partitions": partitions.collect::<Vec<_>>(),
        "etag": topic.etag,
        "deleting": topic.deleting,
    })
}
