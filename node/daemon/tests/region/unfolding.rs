//! Batches that are small as stored and large once decoded, read as single messages.

use meridian_model::{BatchBuilder, Codec, Message};
use meridian_proto::v1::PublishRequest;
use meridian_proto::v1::publish_request::Payload;
use meridian_sdk::Item;

use crate::cluster::Region;
use crate::producer::{HANG, publish};

const BATCHES: u64 = 30;
const IN_BATCH: u64 = 8;
const BODY_BYTES: usize = 900_000;

/// LOG-5: a page of such batches would be hundreds of megabytes; each message of it comes once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_messages_gets_through_batches_that_unfold() {
    let region = Region::start().await;
    let topic = region.topic("unfolding").await;
    let (name, leader) = (topic.name.resource(), region.leader(&topic).await);
    let mut stored_bytes = 0;
    for number in 0..BATCHES {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        for offset in number * IN_BATCH..(number + 1) * IN_BATCH {
            builder.push(&Message::new(vec![offset as u8; BODY_BYTES]));
        }
        let batch = builder.build().expect("a batch").into_bytes();
        stored_bytes += batch.len();
        let payload = Some(Payload::Batch(batch));
        let request =
            PublishRequest { topic: name.clone(), partition: Some(0), payload, ..Default::default() };
        let ack = publish(&region.address(leader), request).await.expect("stored");
        assert_eq!(ack.base_offset, number * IN_BATCH);
    }
    let mut reader = region.client().reader(&name).unpack_on_node(true).open().await.expect("a reader");
    let mut next = 0;
    while let Some(item) = tokio::time::timeout(HANG, reader.next()).await.expect("no reader hangs") {
        let Item::Record(record) = item.expect("reads on") else { panic!("nothing was trimmed") };
        assert_eq!((record.offset.0, record.body.len()), (next, BODY_BYTES));
        assert!(record.body.iter().all(|byte| *byte == next as u8), "another message at {next}");
        next += 1;
    }
    assert_eq!(next, BATCHES * IN_BATCH);
    println!("{stored_bytes} stored bytes read as {} of messages", next * BODY_BYTES as u64);
}
