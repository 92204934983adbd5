//! `meridian status`.

use std::time::Duration;

use clap::Args;
use meridian_sdk::admin::{ClusterInfo, GroupInfo, NodeInfo, TopicInfo};
use meridian_sdk::{Client, Error};
use serde_json::{Value, json};

use crate::table::{list, optional, render};
use crate::{Console, Failure, GlobalArgs, topic, units};

/// How long the topics may take before the rest is shown without them.
const TOPICS_PATIENCE: Duration = Duration::from_secs(5);

/// Options of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Also show every group on the answering node
    #[arg(long)]
    groups: bool,
}

pub(crate) async fn run(
    args: StatusArgs,
    client: &Client,
    global: &GlobalArgs,
    console: &mut Console,
) -> Result<(), Failure> {
    let cluster = client.admin().get_cluster(args.groups).await?;
    // Without a quorum the nodes are still worth showing.
    let topics = match tokio::time::timeout(TOPICS_PATIENCE, topics(client)).await {
        Ok(Ok(topics)) => Some(topics),
        Ok(Err(error)) => {
            console.warn(global.output, &format!("the topics are not known: {error}"));
            None
        }
        Err(_) => {
            console.warn(global.output, "the topics are not known: the control group does not answer");
            None
        }
    };
    let human = describe(&cluster, topics.as_deref(), args.groups);
    let mut json = to_json(&cluster);
    json["topics"] = topics.map_or(Value::Null, |topics| topics.iter().map(topic::to_json).collect());
    if args.groups {
        json["groups"] = cluster.groups.iter().map(group_json).collect();
    }
    Ok(console.result(global.output, &human, &json)?)
}

async fn topics(client: &Client) -> Result<Vec<TopicInfo>, Error> {
    let mut topics = Vec::new();
    for tenant in client.admin().list_tenants().await? {
        topics.extend(client.admin().list_topics(&tenant, "").await?);
    }
    Ok(topics)
}

fn describe(cluster: &ClusterInfo, topics: Option<&[TopicInfo]>, groups: bool) -> String {
    let id = cluster.cluster.map_or_else(|| "not formed yet".to_string(), |id| id.to_string());
    let reachable = cluster.nodes.iter().filter(|node| node.reachable).count();
    let mut text = format!(
        "cluster {} ({id}), version {}, {reachable} of {} nodes reachable from node {}\n\n",
        cluster.name,
        cluster.version,
        cluster.nodes.len(),
        cluster.answering_node.0,
    );
    text += &nodes_table(&cluster.nodes);
    if let Some(topics) = topics {
        text += "\n";
        text += &topic::topics_table(topics);
    }
    if groups {
        text += "\n";
        text += &groups_table(&cluster.groups);
    }
    text
}

fn nodes_table(nodes: &[NodeInfo]) -> String {
    let rows = nodes.iter().map(|node| {
        let state = if node.reachable { "reachable" } else { "UNREACHABLE" };
        let duty = node.duty.name();
        let moving = if node.moving > 0 { format!(" ({} moving)", node.moving) } else { String::new() };
        let clock = node.clock_offset_ms.map(|ms| format!("{ms:+} ms"));
        vec![
            node.node.0.to_string(),
            node.zone.clone(),
            node.client_address.clone(),
            state.into(),
            duty.into(),
            node.leads.to_string(),
            format!("{}{moving}", node.copies),
            optional(clock),
        ]
    });
    render(
        &["NODE", "ZONE", "ADDRESS", "STATE", "DUTY", "LEADS", "COPIES", "CLOCK"],
        &rows.collect::<Vec<_>>(),
    )
}

fn groups_table(groups: &[GroupInfo]) -> String {
    let rows = groups.iter().map(|group| {
        let subject = match group.group.is_control() {
            true => "(control)".to_string(),
            false => format!("{}/{}", group.topic, group.partition),
        };
        vec![
            group.group.0.to_string(),
            subject,
            optional(group.leader.map(|node| node.0)),
            group.term.to_string(),
            group.applied_index.to_string(),
            group.last_index.to_string(),
            format!("{}..{}", group.log_start, group.log_end),
            units::human_bytes(group.log_bytes),
            list(group.voters.iter().map(|node| node.0)),
        ]
    });
    let header = ["GROUP", "PARTITION", "LEADER", "TERM", "APPLIED", "LAST", "OFFSETS", "SIZE", "VOTERS"];
    render(&header, &rows.collect::<Vec<_>>())
}

fn to_json(cluster: &ClusterInfo) -> Value {
    let nodes = cluster.nodes.iter().map(|node| {
        json!({
            "node": node.node.0,
            "zone": node.zone,
            "client_address": node.client_address,
            "raft_address": node.raft_address,
            "reachable": node.reachable,
            "clock_offset_ms": node.clock_offset_ms,
            "duty": node.duty.name(),
            "leads": node.leads,
            "copies": node.copies,
            "moving": node.moving,
        })
    });
    json!({
        "cluster": cluster.cluster.map(|id| id.to_string()),
        "name": cluster.name,
        "version": cluster.version,
        "answering_node": cluster.answering_node.0,
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

fn group_json(group: &GroupInfo) -> Value {
    json!({
        "group": group.group.0,
        "topic": group.topic,
        "partition": group.partition,
        "leader": group.leader.map(|node| node.0),
        "term": group.term,
        "last_index": group.last_index,
        "applied_index": group.applied_index,
        "purged_index": group.purged_index,
        "log_start": group.log_start.0,
        "log_end": group.log_end.0,
        "log_bytes": group.log_bytes,
        "voters": group.voters.iter().map(|node| node.0).collect::<Vec<_>>(),
        "learners": group.learners.iter().map(|node| node.0).collect::<Vec<_>>(),
    })
}
