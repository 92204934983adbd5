//! Administrators: create, describe, change, list and delete a few topics, one attempt per operation.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Control, ControlAnswer, ControlOp};
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use meridian_proto::admin::{
    CreateTopicRequest, DeleteTopicRequest, GetTopicRequest, ListTopicsRequest, Retention, Topic,
    UpdateTopicRequest,
};
use meridian_proto::v1::{ErrorReason, Failure};
use tonic::transport::Channel;

use crate::chance::Chance;
use crate::once::{Unanswered, attempt};
use crate::region::Region;
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(5);
const NAMES: u64 = 3;
const PREFIX: &str = "ctl-";

/// An answer, and the index of the metadata log at which it holds.
type Answer = (ControlAnswer, u64);

/// Works until the work is over.
pub async fn administer(scene: Arc<Scene>, region: impl Region, mut chance: Chance) {
    use ControlOp::{Create, Delete, Describe, List, Update};
    let process = scene.number();
    while !scene.is_over() {
        let op = chance.pick(&[Create, Create, Delete, Delete, Update, Describe, Describe, Describe, List]);
        let name = format!("{PREFIX}{}", chance.between(0, NAMES - 1));
        let key = if op == List { PREFIX.to_owned() } else { name };
        let bytes = chance.between(1 << 20, 1 << 30);
        let value = op.is_write().then(|| bytes.to_string()).filter(|_| op != Delete);
        let call = Control { op, key: key.clone(), value, answer: None };
        let node = region.any_node(&mut chance);
        let Ok(channel) = region.channel(node) else { return };
        let request_id = format!("{process}-{:016x}", chance.any());
        let pending = scene.recorder.invoke(process, call);
        match ask(channel, op, &key, bytes, request_id).await {
            Ok(answer) => {
                scene.tally.control();
                pending.ok(answer);
            }
            Err(unanswered) if unanswered.refusal().is_some() => pending.fail(unanswered.why()),
            Err(unanswered) => {
                region.forget(node);
                scene.tally.unknown();
                pending.info(unanswered.why());
            }
        }
        scene.pause(scene.manner.control_pause_ms).await;
    }
}

async fn ask(
    channel: Channel,
    op: ControlOp,
    key: &str,
    bytes: u64,
    request_id: String,
) -> Result<Answer, Unanswered> {
    let mut admin = AdminServiceClient::new(channel);
    let (topic, retention) = (key.to_owned(), Some(Retention { age_ms: None, bytes: Some(bytes) }));
    let done = |index| (ControlAnswer::Done, index);
    let answer = match op {
        ControlOp::Create => {
            let request = CreateTopicRequest { topic, partitions: 1, replication: 0, retention, request_id };
            attempt(PATIENCE, admin.create_topic(request)).await.map(|answer| done(answer.control_index))
        }
        ControlOp::Update => {
            let request = UpdateTopicRequest { topic, retention, etag: String::new(), request_id };
            attempt(PATIENCE, admin.update_topic(request)).await.map(|answer| done(answer.control_index))
        }
        ControlOp::Delete => {
            let request = DeleteTopicRequest { topic, request_id };
            attempt(PATIENCE, admin.delete_topic(request)).await.map(|answer| done(answer.control_index))
        }
        ControlOp::Describe => {
            let answer = attempt(PATIENCE, admin.get_topic(GetTopicRequest { topic })).await;
            answer.map(|answer| (described(answer.topic.as_ref()), answer.control_index))
        }
        ControlOp::List => {
            let request = ListTopicsRequest { page_size: 1_000, ..ListTopicsRequest::default() };
            let answer = attempt(PATIENCE, admin.list_topics(request)).await;
            answer.map(|answer| (listed(&answer.topics), answer.control_index))
        }
    };
    answer.or_else(|unanswered| answered_no(&unanswered).ok_or(unanswered))
}

/// A topic that is being deleted is gone as far as clients are concerned.
fn described(topic: Option<&Topic>) -> ControlAnswer {
    let retention = topic.filter(|topic| !topic.deleting).map(|topic| topic.retention.unwrap_or_default());
    match retention {
        Some(retention) => ControlAnswer::Value(retention.bytes.unwrap_or_default().to_string()),
        None => ControlAnswer::Missing,
    }
}

fn listed(topics: &[Topic]) -> ControlAnswer {
    let there = topics.iter().filter(|topic| !topic.deleting);
    let names = there.filter_map(|topic| topic.topic.rsplit('/').next());
    ControlAnswer::Names(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect())
}

/// A refusal that says at which index it was decided is an answer of the map, and can be held to it.
fn answered_no(unanswered: &Unanswered) -> Option<Answer> {
    let Unanswered::Refused(failure) = unanswered else { return None };
    let answer = match failure.reason() {
        ErrorReason::AlreadyExists => ControlAnswer::Exists,
        ErrorReason::NotFound => ControlAnswer::Missing,
        _ => return None,
    };
    Some((answer, index(failure)?))
}

fn index(failure: &Failure) -> Option<u64> {
    failure.metadata.get("control_index")?.parse().ok()
}
