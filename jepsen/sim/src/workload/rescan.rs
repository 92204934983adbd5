//! Reading every replica from end to end once everything is healed.

use std::time::Duration;

use meridian_history::{FinalRead, Scan, Skip, SkipReason};
use meridian_proto::v1::GetLogResponse;
use meridian_sdk::{Client, Error, Item, NodeId, Offset, Start};
use tokio::time::Instant;

use super::scene::{Scene, TOPIC};
use super::wires::Wires;
use super::{ends, oracle};
use crate::plan::{HOSTS, NODES};

/// The logical client of all final scans.
const PROCESS: u64 = 2_000_000;
/// How long replicas may take to become equal.
const CONVERGED_WITHIN: Duration = Duration::from_secs(30);
const SCAN_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until all replicas are equal, then reads each of them. What goes wrong is noted.
pub(super) async fn rescan(scene: &Scene, wires: &Wires) {
    for partition in 0..scene.plan.partitions {
        converge(scene, wires, partition).await;
    }
    let Ok(client) = wires.sdk(scene.plan.seed) else { return };
    for (node, partition) in (0..NODES).flat_map(|node| (0..scene.plan.partitions).map(move |p| (node, p))) {
        if let Err(why) = scan(scene, wires, &client, node, partition).await {
            scene.problem(format!(
                "{} of partition {partition} could not be read to its end: {why}",
                HOSTS[node]
            ));
        }
    }
}

/// Where a replica stands: its end and the head of its chain.
type Standing = Result<(u64, Vec<u8>), String>;

async fn converge(scene: &Scene, wires: &Wires, partition: u32) {
    let deadline = Instant::now() + CONVERGED_WITHIN;
    loop {
        let mut standings: Vec<Standing> = Vec::new();
        for node in 0..NODES {
            let log = ends::log(wires, node, partition, Some(node)).await;
            let standing = |log: GetLogResponse| (log.log_end, log.chain_head.to_vec());
            standings.push(log.map(standing).map_err(|status| status.message().to_owned()));
        }
        if standings[0].is_ok() && standings.iter().all(|standing| *standing == standings[0]) {
            return;
        }
        if Instant::now() > deadline {
            let told: Vec<String> = standings.iter().map(tell).collect();
            return scene
                .problem(format!("replicas of partition {partition} did not converge: {}", told.join(", ")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(standing: &Standing) -> String {
    match standing {
        Ok((end, _)) => format!("end {end}"),
        Err(why) => why.clone(),
    }
}

async fn scan(
    scene: &Scene,
    wires: &Wires,
    client: &Client,
    node: usize,
    partition: u32,
) -> Result<(), String> {
    let bounds = ends::chain(scene, wires, PROCESS, node, partition).await;
    let replica = HOSTS[node].to_owned();
    let call = FinalRead { topic: TOPIC.to_owned(), partition, replica, scan: None };
    let pending = scene.recorder.invoke(PROCESS, call);
    let bounds = match bounds {
        Ok(bounds) => bounds,
        Err(status) => {
            pending.fail(status.message());
            return Err(status.message().to_owned());
        }
    };
    if bounds.log_start > 0 && !scene.plan.expires_soon() {
        scene.problem(format!(
            "{} trimmed partition {partition} to {} too early",
            HOSTS[node], bounds.log_start
        ));
    }
    scene.note_trimmed(bounds.log_start);
    let mut scan = Scan { start: bounds.log_start, end: bounds.log_end, ..Scan::default() };
    match fill(client, partition, node, &mut scan).await {
        Ok(()) => {
            pending.ok(scan);
            Ok(())
        }
        Err(error) => {
            pending.partial(scan, error.to_string());
            Err(error.to_string())
        }
    }
}

async fn fill(client: &Client, partition: u32, node: usize, scan: &mut Scan) -> Result<(), Error> {
    if scan.end == scan.start {
        return Ok(());
    }
    // From the start as it was: what retention removes meanwhile is then told as skipped.
    let reader = client.reader(TOPIC).partition(partition).start(Start::Offset(Offset(scan.start)));
    let reader = reader.replica(NodeId(node as u64 + 1));
    let mut reader = reader.limit(scan.end - scan.start).patience(SCAN_PATIENCE).open().await?;
    while let Some(item) = reader.next().await {
        match item? {
            Item::Record(record) => {
                scan.records.push(oracle::open(record.offset.0, record.key.as_deref(), &record.body));
            }
            Item::Skipped { from, to, .. } => {
                scan.skips.push(Skip { from: from.0, to: to.0, reason: SkipReason::Trimmed });
            }
        }
    }
    Ok(())
}
