//! Subscriptions for people, and as JSON.

use meridian_sdk::admin::{
    MovedPartition, Standing, StandingInfo, SubscriptionCreated, SubscriptionInfo, SubscriptionStandings,
};
use meridian_sdk::{Backoff, Start, SubscriptionKind};
use serde_json::{Value, json};

use crate::table::render;
use crate::units::human_age;

fn kind(kind: SubscriptionKind) -> &'static str {
    match kind {
        SubscriptionKind::Exclusive => "exclusive",
        SubscriptionKind::Failover => "failover",
        SubscriptionKind::Shared => "shared",
        SubscriptionKind::KeyShared => "key-shared",
    }
}

/// How often a message is tried, and what becomes of it then.
fn tries(found: &SubscriptionInfo) -> String {
    match (found.settings.rules.attempts_max, &found.settings.dead_letter_topic) {
        (Some(most), Some(topic)) => format!("{most} attempts, then {topic}"),
        (Some(most), None) => format!("{most} attempts"),
        (None, _) => "for ever".into(),
    }
}

pub(super) fn created(created: &SubscriptionCreated) -> String {
    let found = &created.subscription;
    let rules = &found.settings.rules;
    format!(
        "created subscription {} of {}: {}, lease {}, tries {}",
        found.name,
        found.topic,
        kind(rules.kind),
        human_age(rules.lease_ms),
        tries(found)
    )
}

/// One line for each subscription.
pub(super) fn table(topic: &str, found: &[SubscriptionInfo]) -> String {
    let rows = found.iter().map(|found| {
        let rules = &found.settings.rules;
        let durable = if found.settings.durable { "yes" } else { "no" };
        let (id, kind) = (found.id.0.to_string(), kind(rules.kind).to_string());
        vec![found.name.clone(), kind, human_age(rules.lease_ms), tries(found), durable.into(), id]
    });
    match found.is_empty() {
        true => format!("no subscriptions; `meridian subscription create {topic} NAME` makes one"),
        false => {
            render(&["SUBSCRIPTION", "KIND", "LEASE", "TRIES", "DURABLE", "ID"], &rows.collect::<Vec<_>>())
        }
    }
}

/// Settings in words.
pub(super) fn settings(found: &SubscriptionInfo) -> String {
    let (rules, settings) = (&found.settings.rules, &found.settings);
    let backoff = match rules.backoff {
        Backoff::Linear { step_ms, max_ms } => {
            format!("{} more with each attempt, at most {}", human_age(step_ms), human_age(max_ms))
        }
        Backoff::Exponential { first_ms, max_ms } => {
            format!("{} doubled with each attempt, at most {}", human_age(first_ms), human_age(max_ms))
        }
    };
    let retry =
        settings.retry_topic.as_ref().map(|topic| format!(", retries go to {topic}")).unwrap_or_default();
    let fleeting = if settings.durable { "" } else { ", not durable: retention does not wait for it" };
    let idle =
        settings.idle_ms_max.map(|idle| format!(", deleted after {} without a consumer", human_age(idle)));
    format!(
        "subscription {} of {}: {}, lease {}, tries {}, waits {backoff}{retry}{fleeting}{}",
        found.name,
        found.topic,
        kind(rules.kind),
        human_age(rules.lease_ms),
        tries(found),
        idle.unwrap_or_default()
    )
}

pub(super) fn describe(found: &SubscriptionStandings) -> String {
    let rows: Vec<_> = found.partitions.iter().map(row).collect();
    let header = ["PARTITION", "LEADER", "BACKLOG", "DELAYED", "FLOOR", "END", "HOLES", "FAILED", "SEEKS"];
    format!("{}\n{}", settings(&found.subscription), render(&header, &rows))
}

fn row(found: &StandingInfo) -> Vec<String> {
    let partition = found.partition.to_string();
    match &found.standing {
        Ok(Some(standing)) => {
            let at_most = if standing.delayed_at_most { "at most " } else { "" };
            vec![
                partition,
                standing.leader.0.to_string(),
                standing.backlog_messages.to_string(),
                format!("{at_most}{}", standing.delayed_messages),
                standing.floor.0.to_string(),
                standing.log_end.0.to_string(),
                standing.settled_ranges.to_string(),
                standing.failed_messages.to_string(),
                standing.seek_epoch.to_string(),
            ]
        }
        Ok(None) => vec![partition, "-".into(), "not told yet".into()],
        Err(why) => vec![partition, "-".into(), why.clone()],
    }
}

pub(super) fn moved(moved: &[MovedPartition]) -> String {
    let rows = moved.iter().map(|moved| {
        let (partition, floor) = (moved.partition.to_string(), moved.floor.0.to_string());
        vec![partition, floor, moved.skipped_messages.to_string(), moved.seek_epoch.to_string()]
    });
    render(&["PARTITION", "FLOOR", "SKIPPED", "SEEKS"], &rows.collect::<Vec<_>>())
}

/// A subscription as JSON.
pub(super) fn to_json(found: &SubscriptionInfo) -> Value {
    let rules = &found.settings.rules;
    let (growth, first_ms, max_ms) = match rules.backoff {
        Backoff::Linear { step_ms, max_ms } => ("linear", step_ms, max_ms),
        Backoff::Exponential { first_ms, max_ms } => ("exponential", first_ms, max_ms),
    };
    let start = match found.start {
        Start::Earliest => json!("earliest"),
        Start::Latest => json!("latest"),
        Start::Time(time) => json!({ "time_ms": time.0 }),
        Start::Offset(offset) => json!({ "offset": offset.0 }),
    };
    json!({
        "topic": found.topic.to_string(),
        "subscription": found.name,
        "id": found.id.0,
        "kind": kind(rules.kind),
        "lease_ms": rules.lease_ms,
        "backoff": { "growth": growth, "first_ms": first_ms, "max_ms": max_ms },
        "attempts_max": rules.attempts_max,
        "dead_letter_topic": found.settings.dead_letter_topic,
        "retry_topic": found.settings.retry_topic,
        "durable": found.settings.durable,
        "idle_ms_max": found.settings.idle_ms_max,
        "start": start,
        "etag": found.etag,
    })
}

pub(super) fn changed_json(changed: &SubscriptionCreated) -> Value {
    let mut json = to_json(&changed.subscription);
    json["control_index"] = changed.control_index.into();
    json["pending_partitions"] = json!(changed.pending_partitions);
    json
}

pub(super) fn standings_json(found: &SubscriptionStandings) -> Value {
    let mut json = to_json(&found.subscription);
    let partition = |found: &StandingInfo| match &found.standing {
        Ok(Some(standing)) => standing_json(found.partition, standing),
        Ok(None) => json!({ "partition": found.partition, "known": false }),
        Err(why) => json!({ "partition": found.partition, "error": why }),
    };
    json["partitions"] = found.partitions.iter().map(partition).collect();
    json
}

fn standing_json(partition: u32, standing: &Standing) -> Value {
    let settled: Vec<_> = standing.settled.iter().map(|(from, to)| json!([from.0, to.0])).collect();
    json!({
        "partition": partition,
        "known": true,
        "leader": standing.leader.0,
        "control_index": standing.control_index,
        "floor": standing.floor.0,
        "settled": settled,
        "settled_ranges": standing.settled_ranges,
        "log_start": standing.log_start.0,
        "log_end": standing.log_end.0,
        "backlog_messages": standing.backlog_messages,
        "delayed_messages": standing.delayed_messages,
        "delayed_at_most": standing.delayed_at_most,
        "seek_epoch": standing.seek_epoch,
        "failed_messages": standing.failed_messages,
        "dead_letters": standing.dead_letters,
        "expired_messages": standing.expired_messages,
        "dropped_messages": standing.dropped_messages,
    })
}

pub(super) fn moved_json(moved: &[MovedPartition]) -> Value {
    let partition = |moved: &MovedPartition| {
        json!({
            "partition": moved.partition,
            "floor": moved.floor.0,
            "seek_epoch": moved.seek_epoch,
            "skipped_messages": moved.skipped_messages,
        })
    };
    json!({ "partitions": moved.iter().map(partition).collect::<Vec<_>>() })
}
