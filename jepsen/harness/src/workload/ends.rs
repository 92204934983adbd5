//! Probes of a log's bounds: its linearizable end, its start, and the hash chain of each replica.

use std::sync::Arc;

use meridian_history::{Chain, ChainHead, EndOffset, LogStart};
use meridian_proto::v1::GetLogResponse;

use super::Scene;
use crate::chance::Chance;
use crate::cluster::Whose;

const PACE_MS: u64 = 40;

/// Asks until the work is over.
pub(super) async fn probe(scene: Arc<Scene>, mut chance: Chance) {
    let process = scene.number();
    while !scene.is_over() {
        let partition = chance.between(0, u64::from(scene.partitions) - 1) as u32;
        let at = scene.any_node(&mut chance);
        match chance.between(0, 3) {
            0 | 1 => end(&scene, process, at, partition).await,
            2 => start(&scene, process, at, partition).await,
            _ => chain(&scene, process, at, partition).await,
        }
        scene.pace(PACE_MS).await;
    }
}

async fn end(scene: &Scene, process: u64, at: u64, partition: u32) {
    let call = EndOffset { topic: scene.topic.clone(), partition, end: None };
    let pending = scene.recorder.invoke(process, call);
    match scene.cluster.log(at, &scene.topic, partition, Whose::Linearizable).await {
        Ok(log) => pending.ok(log.log_end),
        Err(status) => pending.fail(status.message()),
    }
}

async fn start(scene: &Scene, process: u64, at: u64, partition: u32) {
    let call = LogStart { topic: scene.topic.clone(), partition, node: None, start: None };
    let pending = scene.recorder.invoke(process, call);
    match scene.cluster.log(at, &scene.topic, partition, Whose::Linearizable).await {
        Ok(log) => pending.ok(log.log_start),
        Err(status) => pending.fail(status.message()),
    }
}

async fn chain(scene: &Scene, process: u64, at: u64, partition: u32) {
    let call = Chain { topic: scene.topic.clone(), partition, replica: format!("node-{at}"), at: None };
    let pending = scene.recorder.invoke(process, call);
    match scene.cluster.log(at, &scene.topic, partition, Whose::Replica(at)).await {
        Ok(log) => pending.ok(head(&log)),
        Err(status) => pending.fail(status.message()),
    }
}

/// The chain head in an answer.
pub(super) fn head(log: &GetLogResponse) -> ChainHead {
    let head = log.chain_head.iter().map(|byte| format!("{byte:02x}")).collect();
    ChainHead { offset: log.log_end, head }
}
