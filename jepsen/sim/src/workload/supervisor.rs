//! Looks after a run: makes the topic, demands liveness once everything is healed, and has the replicas read.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Appended, MessageId, Publish, Sent, Times};
use meridian_model::topology::Retention;
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Error, Message};
use meridian_workload::{Region, Whose, log, oracle};
use tokio::time::Instant;

use super::rescan;
use super::scene::{Scene, Stage, TOPIC};
use super::wires::Wires;
use crate::net::Net;
use crate::plan::{BOSS, CLIENTS, HOSTS};

/// How long a healed region may take until every partition takes a message again.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// How long clients may take to finish what they had begun when everything was healed.
const CLIENTS_END_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From the first election to the last scan.
pub(crate) async fn supervise(scene: Arc<Scene>) -> turmoil::Result {
    let wires = Wires::new(Net::new(HOSTS[BOSS].into(), Arc::clone(&scene.trace)));
    create(&scene, &wires).await;
    if let Some(consumers) = &scene.consumers {
        consumers.subscribe(&wires, scene.chance("subscribe")).await;
    }
    if scene.plan.calm_start {
        await_replicas(&wires, scene.plan.partitions).await;
    }
    scene.enter(Stage::Working);
    scene.reached(Stage::Healed).await;
    serve_again(&scene, &wires).await;
    scene.enter(Stage::Stopping);
    let deadline = Instant::now() + CLIENTS_END_WITHIN;
    while scene.client_hosts_done() < CLIENTS as u64 && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if scene.client_hosts_done() < CLIENTS as u64 {
        scene.problem(format!(
            "clients did not finish within {CLIENTS_END_WITHIN:?} after everything was healed"
        ));
    }
    if let Some(consumers) = &scene.consumers
        && let Err(why) = consumers.finish(&wires, &scene.chance("settled")).await
    {
        scene.problem(format!("what is published is not settled: {why:#}"));
    }
    rescan::rescan(&scene, &wires).await;
    scene.enter(Stage::Done);
    Ok(())
}

async fn create(scene: &Scene, wires: &Wires) {
    let retention = Retention { age_ms: scene.plan.retention_age_ms, bytes: None };
    let topic = NewTopic { retention, ..NewTopic::new(TOPIC, scene.plan.partitions) };
    let mut chance = scene.chance("topic");
    loop {
        // Another client each time: a refused request stays refused.
        let Ok(client) = wires.client(chance.any()) else { return };
        match client.admin().create_topic(topic.clone()).await {
            Ok(_) => return,
            Err(Error::Refused(refused)) if refused.reason == meridian_sdk::Reason::AlreadyExists => return,
            Err(error) => {
                tracing::info!(%error, "the topic is not there yet");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// Waits until every node runs a copy of every partition.
async fn await_replicas(wires: &Wires, partitions: u32) {
    for (node, partition) in
        wires.nodes().into_iter().flat_map(|node| (0..partitions).map(move |partition| (node, partition)))
    {
        while log(wires, node, TOPIC, partition, Whose::Replica(node)).await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Demands that every partition takes a message and confirms its end.
async fn serve_again(scene: &Scene, wires: &Wires) {
    for partition in 0..scene.plan.partitions {
        if let Err(why) = publish_one(scene, wires, partition).await {
            scene.problem(format!(
                "partition {partition} took no message within {SERVES_WITHIN:?} after heal: {why}"
            ));
        }
        for node in wires.nodes() {
            let deadline = Instant::now() + SERVES_WITHIN;
            while let Err(status) = log(wires, node, TOPIC, partition, Whose::Linearizable).await {
                if Instant::now() > deadline {
                    let (name, why) = (wires.name(node), status.message());
                    scene.problem(format!(
                        "{name} confirmed no end of partition {partition} after heal: {why}"
                    ));
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

async fn publish_one(scene: &Scene, wires: &Wires, partition: u32) -> Result<(), Error> {
    let id = MessageId::new(format!("boss-{partition}"), 0, 0);
    let (body, crc) = oracle::seal(&id, "healed");
    let key = scene.clients.key_of(partition, 0);
    let call = Publish {
        topic: TOPIC.to_owned(),
        partition,
        producer: id.producer.clone(),
        epoch: 0,
        first_sequence: 0,
        sequenced: true,
        messages: vec![Sent { id: id.clone(), key: Some(key.clone()), crc, times: Times::default() }],
        appended: None,
    };
    let pending = scene.clients.recorder.invoke(scene.clients.number(), call);
    let client = wires.client(scene.plan.seed ^ u64::from(partition))?;
    let producer = client.producer(TOPIC).delivery_timeout(SERVES_WITHIN).build().await?;
    let receipt = producer.send(Message::new(body).with_key(key)).await?.await?;
    pending.ok(Appended::at(receipt.offset.0));
    scene.clients.tally.ack(partition, receipt.offset.0, &id);
    Ok(())
}
