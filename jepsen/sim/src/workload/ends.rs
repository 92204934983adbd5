//! Probes of a log's bounds: its linearizable end, its start, and the hash chain of each replica.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Chain, ChainHead, EndOffset, LogStart};
use meridian_proto::v1::{GetLogRequest, GetLogResponse};
use tonic::Status;

use super::scene::{Scene, TOPIC};
use super::wires::Wires;
use crate::chance::Chance;
use crate::plan::{HOSTS, NODES};
use crate::plant::Plant;

const PACE_MS: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks until the work is over.
pub(super) async fn probe(scene: Arc<Scene>, wires: Wires, mut chance: Chance) {
    let process = scene.number();
    while !scene.is_over() {
        let partition = scene.any_partition(&mut chance);
        let at = chance.between(0, NODES as u64 - 1) as usize;
        match chance.between(0, 3) {
            0 | 1 => end(&scene, &wires, process, at, partition).await,
            2 => start(&scene, &wires, process, at, partition).await,
            _ => {
                // Whether that worked is in the history.
                let _ = chain(&scene, &wires, process, at, partition).await;
            }
        }
        scene.pace(PACE_MS).await;
    }
}

/// The log of a partition: as a quorum confirms it, or as one replica has applied it.
pub(super) async fn log(
    wires: &Wires,
    at: usize,
    partition: u32,
    replica: Option<usize>,
) -> Result<GetLogResponse, Status> {
    let request = GetLogRequest {
        topic: TOPIC.to_owned(),
        partition,
        linearizable: replica.is_none(),
        replica_node: replica.map(|node| node as u64 + 1),
    };
    let mut client = wires.reader(at).map_err(|error| Status::internal(error.to_string()))?;
    match tokio::time::timeout(PATIENCE, client.get_log(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => {
            wires.forget(at);
            Err(Status::deadline_exceeded("no answer within two seconds"))
        }
    }
}

async fn end(scene: &Scene, wires: &Wires, process: u64, at: usize, partition: u32) {
    let pending = scene.recorder.invoke(process, EndOffset { topic: TOPIC.to_owned(), partition, end: None });
    let whose = (scene.plan.plant == Plant::UnconfirmedEnd).then_some(at);
    match log(wires, at, partition, whose).await {
        Ok(log) => pending.ok(log.log_end),
        Err(status) => pending.fail(status.message()),
    }
}

async fn start(scene: &Scene, wires: &Wires, process: u64, at: usize, partition: u32) {
    let call = LogStart { topic: TOPIC.to_owned(), partition, node: None, start: None };
    let pending = scene.recorder.invoke(process, call);
    match log(wires, at, partition, None).await {
        Ok(log) => pending.ok(log.log_start),
        Err(status) => pending.fail(status.message()),
    }
}

/// Asks a replica for its chain head, and writes that down.
pub(super) async fn chain(
    scene: &Scene,
    wires: &Wires,
    process: u64,
    at: usize,
    partition: u32,
) -> Result<GetLogResponse, Status> {
    let call = Chain { topic: TOPIC.to_owned(), partition, replica: HOSTS[at].to_owned(), at: None };
    let pending = scene.recorder.invoke(process, call);
    let answer = log(wires, at, partition, Some(at)).await;
    match &answer {
        Ok(log) => {
            let head = log.chain_head.iter().map(|byte| format!("{byte:02x}")).collect();
            pending.ok(ChainHead { offset: log.log_end, head });
        }
        Err(status) => pending.fail(status.message()),
    }
    answer
}
