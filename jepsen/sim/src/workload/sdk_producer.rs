//! A producer of the SDK with several messages on their way: it must hide every fault of a run.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use meridian_history::{Appended, MessageId, Pending, Publish, Sent};
use meridian_sdk::{Delivery, Error, Message, Producer};

use super::oracle;
use super::scene::{Scene, TOPIC};
use super::wires::Wires;
use crate::chance::Chance;

/// Messages on their way at once.
const WINDOW: usize = 12;
/// Longer than a run: a message that the SDK gives up is an error the application sees.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// Publishes until the work is over, then waits for every delivery.
pub(super) async fn produce(scene: Arc<Scene>, wires: Wires, nth: u64, mut chance: Chance) {
    let name = format!("sdk-{nth}");
    let producer = loop {
        match open(&wires, &mut chance).await {
            Ok(producer) => break producer,
            Err(error) if scene.is_over() => return scene.problem(format!("{name} never opened: {error}")),
            Err(_) => scene.pace(50).await,
        }
    };
    let mut slots: Vec<u64> = (0..WINDOW).map(|_| scene.number()).collect();
    let mut sequences = vec![0_u64; scene.plan.partitions as usize];
    let mut on_their_way = FuturesUnordered::new();
    while !scene.is_over() {
        let Some(slot) = slots.pop() else {
            slots.extend(on_their_way.next().await);
            continue;
        };
        let partition = scene.any_partition(&mut chance);
        let sequence = &mut sequences[partition as usize];
        let id = MessageId::new(&name, 0, *sequence);
        *sequence += 1;
        let filler = chance.between(0, scene.plan.filler_bytes_max) as usize;
        let (body, crc) = oracle::seal(&id, &chance.text(filler));
        let key = scene.key_of(partition);
        let pending = scene.recorder.invoke(slot, call(partition, id, &key, crc));
        match producer.send(Message::new(body).with_key(key)).await {
            Ok(delivery) => on_their_way.push(settle(&scene, slot, partition, pending, delivery)),
            Err(error) => {
                pending.fail(error.to_string());
                scene.problem(format!("{name} could not send: {error}"));
                break;
            }
        }
        scene.pace(scene.plan.pace_ms).await;
        while let Some(Some(slot)) = on_their_way.next().now_or_never() {
            slots.push(slot);
        }
    }
    while on_their_way.next().await.is_some() {}
}

async fn open(wires: &Wires, chance: &mut Chance) -> Result<Producer, Error> {
    wires.sdk(chance.any())?.producer(TOPIC).delivery_timeout(DELIVERY_MAX).build().await
}

fn call(partition: u32, id: MessageId, key: &str, crc: u32) -> Publish {
    Publish {
        topic: TOPIC.to_owned(),
        partition,
        producer: id.producer.clone(),
        epoch: id.epoch,
        first_sequence: id.sequence,
        sequenced: true,
        messages: vec![Sent { id, key: Some(key.to_owned()), crc }],
        appended: None,
    }
}

async fn settle(
    scene: &Scene,
    slot: u64,
    partition: u32,
    pending: Pending<Publish>,
    delivery: Delivery,
) -> u64 {
    match delivery.await {
        Ok(receipt) if receipt.partition == partition => {
            // Whatever attempt of the SDK stored it, it was this operation that did.
            pending.ok(Appended::at(receipt.offset.0));
            scene.acked(1);
        }
        Ok(receipt) => {
            pending.info("stored elsewhere");
            scene.problem(format!("a message for partition {partition} went to {}", receipt.partition));
        }
        Err(error) => {
            scene.problem(format!("the SDK let an error through: {error}"));
            match error {
                Error::Indeterminate { .. } => pending.info(error.to_string()),
                other => pending.fail(other.to_string()),
            }
        }
    }
    slot
}
