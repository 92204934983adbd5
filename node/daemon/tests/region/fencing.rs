//! Two producers of one name: from the moment the second is open, the first writes nothing.

use meridian_proto::v1::ErrorReason;
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Error, Message};

use crate::cluster::Region;
use crate::producer::Sender;

const PARTITIONS: u32 = 3;

/// LOG-6: on every partition, wherever it is led and wherever the second one opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_opening_fences_the_first_on_every_partition() {
    let region = Region::start().await;
    let admin = region.client().admin();
    admin.create_topic(NewTopic::new("fenced", PARTITIONS)).await.expect("created");
    let first = Sender::open(&region.address(1), "fenced", "clerk").await.expect("opens");
    for partition in 0..PARTITIONS {
        let ack = first.publish_to(&region.address(1), partition, first.batch_at(0, 2, 16)).await;
        assert_eq!(ack.expect("stored").base_offset, 0);
    }
    let second = Sender::open(&region.address(2), "fenced", "clerk").await.expect("opens");
    assert_eq!((second.producer, second.epoch), (first.producer, first.epoch + 1));
    let mut fenced = 0;
    for partition in 0..PARTITIONS {
        for (node, sequence) in [(1, 2), (2, 2), (3, 0)] {
            let zombie = first.batch_at(sequence, 2, 16);
            let refused = first.publish_to(&region.address(node), partition, zombie).await;
            let refused = refused.expect_err("the first writes nothing after the second (LOG-6)");
            assert_eq!(refused.reason(), ErrorReason::StaleEpoch, "{refused:?}");
            assert_eq!(refused.metadata["current"], second.epoch.to_string());
            fenced += 1;
        }
        let ack = second.publish_to(&region.address(3), partition, second.batch_at(0, 1, 16)).await;
        assert_eq!(ack.expect("stored").base_offset, 2, "right behind what the first had stored");
    }
    println!("{fenced} batches of the first refused on {PARTITIONS} partitions");
}

/// LOG-6, as an application sees it.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_told_that_it_is_fenced() {
    let region = Region::start().await;
    region.topic("taken-over").await;
    let first = region.client().producer("taken-over").name("clerk").build().await.expect("opens");
    let delivery = first.send(Message::new("one")).await.expect("sent");
    delivery.await.expect("stored");
    let second = region.client().producer("taken-over").name("clerk").build().await.expect("opens");
    let zombie = match first.send(Message::new("two")).await {
        Ok(delivery) => delivery.await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(zombie, Err(Error::Fenced { .. })), "{zombie:?}");
    let receipt = second.send(Message::new("three")).await.expect("sent").await.expect("stored");
    assert_eq!(receipt.offset.0, 1, "nothing of the first lies between");
}
