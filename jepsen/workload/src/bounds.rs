//! Probes of a log's bounds: its linearizable end, its start, and the hash chain of each replica.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Chain, ChainHead, EndOffset, LogStart, Recorder};
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{GetLogRequest, GetLogResponse};
use tonic::Status;

use crate::chance::Chance;
use crate::region::Region;
use crate::scene::Scene;

const PAUSE_MS: u64 = 40;
/// How long one question to one node may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which replica a question about a log goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The leader, confirmed by a quorum.
    Linearizable,
    /// The copy on this node.
    Replica(u64),
}

/// Asks for ends, starts and chain heads until the work is over.
pub async fn probe(scene: Arc<Scene>, region: impl Region, mut chance: Chance) {
    let process = scene.number();
    while !scene.is_over() {
        let partition = scene.any_partition(&mut chance);
        let at = region.any_node(&mut chance);
        match chance.between(0, 3) {
            0 | 1 => end(&scene, &region, process, at, partition).await,
            2 => start(&scene, &region, process, at, partition).await,
            _ if scene.manner.copies_move => {}
            _ => {
                let place = (scene.topic.as_str(), partition);
                // Whether that worked is in the history.
                let _ = chain(&region, &scene.recorder, process, place, at).await;
            }
        }
        scene.pause(PAUSE_MS).await;
    }
}

/// The bounds of a log, asked once at one node.
///
/// # Errors
/// The status of the answer; `DEADLINE_EXCEEDED` if there was none in time.
pub async fn log(
    region: &impl Region,
    at: u64,
    topic: &str,
    partition: u32,
    whose: Whose,
) -> Result<GetLogResponse, Status> {
    let (linearizable, replica_node) = match whose {
        Whose::Linearizable => (true, None),
        Whose::Replica(node) => (false, Some(node)),
    };
    let request = GetLogRequest { topic: topic.to_owned(), partition, linearizable, replica_node };
    let channel = region.channel(at).map_err(|error| Status::internal(error.to_string()))?;
    match tokio::time::timeout(PATIENCE, ReadServiceClient::new(channel).get_log(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => {
            region.forget(at);
            Err(Status::deadline_exceeded("no answer within two seconds"))
        }
    }
}

async fn end(scene: &Scene, region: &impl Region, process: u64, at: u64, partition: u32) {
    let call = EndOffset { topic: scene.topic.clone(), partition, end: None };
    let pending = scene.recorder.invoke(process, call);
    let whose = if scene.manner.unconfirmed_ends { Whose::Replica(at) } else { Whose::Linearizable };
    match log(region, at, &scene.topic, partition, whose).await {
        Ok(log) => pending.ok(log.log_end),
        Err(status) => pending.fail(status.message()),
    }
}

async fn start(scene: &Scene, region: &impl Region, process: u64, at: u64, partition: u32) {
    let call = LogStart { topic: scene.topic.clone(), partition, node: None, start: None };
    let pending = scene.recorder.invoke(process, call);
    match log(region, at, &scene.topic, partition, Whose::Linearizable).await {
        Ok(log) => pending.ok(log.log_start),
        Err(status) => pending.fail(status.message()),
    }
}

/// Asks a replica for its chain head, and writes that down.
pub(crate) async fn chain(
    region: &impl Region,
    recorder: &Recorder,
    process: u64,
    (topic, partition): (&str, u32),
    node: u64,
) -> Result<GetLogResponse, Status> {
    let call = Chain { topic: topic.to_owned(), partition, replica: region.name(node), at: None };
    let pending = recorder.invoke(process, call);
    let answer = log(region, node, topic, partition, Whose::Replica(node)).await;
    match &answer {
        Ok(log) => {
            let head = log.chain_head.iter().map(|byte| format!("{byte:02x}")).collect();
            pending.ok(ChainHead { offset: log.log_end, head });
        }
        Err(status) => pending.fail(status.message()),
    }
    answer
}
