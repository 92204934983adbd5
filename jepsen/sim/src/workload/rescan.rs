//! Reading every replica from end to end once everything is healed.

use std::time::Duration;

use meridian_proto::v1::GetLogResponse;
use meridian_sdk::Client;
use meridian_workload::{Region, Whose, agree, log, scan};
use tokio::time::Instant;

use super::scene::{Scene, TOPIC};
use super::wires::Wires;

/// How long replicas may take to become equal.
const CONVERGED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until all replicas are equal, then reads each of them. What goes wrong is noted.
pub(super) async fn rescan(scene: &Scene, wires: &Wires) {
    for partition in 0..scene.plan.partitions {
        converge(scene, wires, partition).await;
    }
    let Ok(client) = wires.client(scene.plan.seed) else { return };
    for partition in 0..scene.plan.partitions {
        for node in wires.nodes() {
            read(scene, wires, &client, partition, node).await;
        }
        let agreed = agree(wires, &scene.clients.recorder, (TOPIC, partition), &wires.nodes()).await;
        if let Err(why) = agreed {
            scene.problem(format!("partition {partition}: {why}"));
        }
    }
}

async fn read(scene: &Scene, wires: &Wires, client: &Client, partition: u32, node: u64) {
    let name = wires.name(node);
    let scanned = scan(wires, client, &scene.clients.recorder, (TOPIC, partition), node).await;
    match scanned {
        Ok(scanned) => {
            if scanned.start > 0 && !scene.plan.expires_soon() {
                scene.problem(format!("{name} trimmed partition {partition} to {} too early", scanned.start));
            }
            scene.note_trimmed(scanned.start);
        }
        Err(why) => {
            scene.problem(format!("{name} of partition {partition} could not be read to its end: {why}"));
        }
    }
}

/// Where a replica stands: its end and the head of its chain.
type Standing = Result<(u64, Vec<u8>), String>;

async fn converge(scene: &Scene, wires: &Wires, partition: u32) {
    let deadline = Instant::now() + CONVERGED_WITHIN;
    loop {
        let mut standings: Vec<Standing> = Vec::new();
        for node in wires.nodes() {
            let log = log(wires, node, TOPIC, partition, Whose::Replica(node)).await;
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
