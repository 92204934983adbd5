//! A producer of the SDK with several messages on their way: it must hide every fault of a run.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use meridian_history::{Appended, MessageId, Pending, Publish, Sent, Times};
use meridian_sdk::{Delivery, Error, Message, Producer};

use crate::chance::Chance;
use crate::oracle;
use crate::region::Region;
use crate::scene::Scene;

/// Messages on their way at once.
const WINDOW: u64 = 12;
/// Longer than any fault of a run: a message the SDK gives up on is an error that the application sees.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

/// Publishes until the work is over, then waits for every delivery.
pub async fn produce(scene: Arc<Scene>, region: impl Region, nth: u64, mut chance: Chance) {
    let name = format!("sdk-{nth}");
    let producer = loop {
        match open(&scene, &region, &mut chance).await {
            Ok(producer) => break producer,
            Err(_) if scene.manner.opens_again && !scene.is_over() => scene.pause(50).await,
            Err(error) => return scene.tally.sdk_error("open producer", &error),
        }
    };
    let mut slots: Vec<u64> = (0..WINDOW).map(|_| scene.number()).collect();
    let mut sequences = vec![0u64; scene.partitions as usize];
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
        let length = chance.between(0, scene.manner.filler_bytes_max) as usize;
        let (body, crc) = oracle::seal(&id, &chance.text(length));
        let key = scene.key_of(partition, id.sequence);
        let pending = scene.recorder.invoke(slot, call(&scene, partition, &id, &key, crc));
        match producer.send(Message::new(body).with_key(key)).await {
            Ok(delivery) => on_their_way.push(settle(scene.clone(), slot, partition, id, pending, delivery)),
            Err(error) => {
                scene.tally.sdk_error("send", &error);
                pending.fail(error.to_string());
                break;
            }
        }
        scene.pause(scene.manner.message_pause_ms).await;
        while let Some(Some(slot)) = on_their_way.next().now_or_never() {
            slots.push(slot);
        }
    }
    while on_their_way.next().await.is_some() {}
    if let Err(error) = producer.close().await {
        scene.tally.sdk_error("close", &error);
    }
}

async fn open(scene: &Scene, region: &impl Region, chance: &mut Chance) -> Result<Producer, Error> {
    let client = region.client(chance.any())?;
    client.producer(&scene.topic).delivery_timeout(DELIVERY_MAX).build().await
}

fn call(scene: &Scene, partition: u32, id: &MessageId, key: &str, crc: u32) -> Publish {
    Publish {
        topic: scene.topic.clone(),
        partition,
        producer: id.producer.clone(),
        epoch: id.epoch,
        first_sequence: id.sequence,
        sequenced: true,
        messages: vec![Sent { id: id.clone(), key: Some(key.to_owned()), crc, times: Times::default() }],
        appended: None,
    }
}

async fn settle(
    scene: Arc<Scene>,
    slot: u64,
    partition: u32,
    id: MessageId,
    pending: Pending<Publish>,
    delivery: Delivery,
) -> u64 {
    match delivery.await {
        Ok(receipt) if receipt.partition == partition => {
            let offset = receipt.offset.0;
            // The SDK sends as often as it must: a duplicate of its own first send is this operation's doing.
            pending.ok(Appended::at(offset));
            scene.tally.ack(partition, offset, &id);
        }
        Ok(receipt) => pending.info(format!("stored in partition {}", receipt.partition)),
        Err(error) => {
            scene.tally.sdk_error("delivery", &error);
            match error {
                Error::Indeterminate { .. } => pending.info(error.to_string()),
                other => pending.fail(other.to_string()),
            }
        }
    }
    slot
}
