//! A data folder that an earlier build wrote is read by this one, byte by byte the same.
//!
//! `cargo run -p meridian-daemon --example write_golden -- FOLDER` writes such a folder. The one of a format is
//! written once, by the build that introduced the format, and never again.

use std::path::{Path, PathBuf};

use meridian_model::{BatchBuilder, Codec, Message, ProducerId};
use meridian_proto::v1::PublishRequest;
use meridian_proto::v1::publish_request::Payload;
use meridian_sdk::{Item, Record, Start};
use serde::Deserialize;

use crate::cluster::private_host;
use crate::patience::until;
use crate::producer::{Sender, publish};
use crate::single::Single;

/// What the folder must hold.
#[derive(Deserialize)]
struct Expected {
    topic: String,
    named: String,
    named_epoch: u32,
    log_start: u64,
    log_end: u64,
    chain_head: String,
    messages: Vec<Stored>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Stored {
    offset: u64,
    appended_at_ms: u64,
    producer: String,
    epoch: u32,
    sequence: u64,
    key: Option<String>,
    body: String,
}

fn stored(record: &Record) -> Stored {
    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    Stored {
        offset: record.offset.0,
        appended_at_ms: record.appended_at.0,
        producer: record.producer.to_string(),
        epoch: record.epoch,
        sequence: record.sequence,
        key: record.key.as_ref().map(text),
        body: text(&record.body),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes a folder");
    for entry in std::fs::read_dir(from).expect("the golden folder is there") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("has a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copies")),
        }
    }
}

/// The message again, as its producer would resend it.
async fn resend(single: &Single, topic: &str, message: &Stored) -> (u64, bool) {
    let producer = u128::from_str_radix(&message.producer, 16).expect("a producer");
    let producer = ProducerId::from_u128(producer);
    let mut builder = BatchBuilder::new(Codec::None).producer(producer, message.epoch, message.sequence);
    builder.push(&Message::new(message.body.clone()));
    let batch = builder.build().expect("a batch").into_bytes();
    let request = PublishRequest {
        topic: topic.into(),
        partition: Some(0),
        payload: Some(Payload::Batch(batch)),
        ..Default::default()
    };
    let ack = publish(&single.node.addresses().client, request).await.expect("known");
    (ack.base_offset, ack.duplicate)
}

/// LOG-1, LOG-4, LOG-5, LOG-6, LOG-9: messages, offsets, chain, what was trimmed, and what is remembered of producers.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_format_1_is_read_as_it_was_written() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1");
    let temp = tempfile::tempdir().expect("a folder");
    copy(&golden, temp.path());
    let expected = std::fs::read(golden.join("expected.json")).expect("says what it holds");
    let expected: Expected = serde_json::from_slice(&expected).expect("as the writer writes it");

    let single = Single::start(temp.path(), &private_host()).await;
    let log =
        until("the partition is served", async || single.client.get_log(&expected.topic, 0, true).await.ok())
            .await;
    let head: String = log.chain_head.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((log.start.0, log.end.0), (expected.log_start, expected.log_end));
    assert_eq!(head, expected.chain_head);
    let mut reader =
        single.client.reader(&expected.topic).start(Start::Earliest).open().await.expect("opens");
    let mut held = Vec::new();
    while let Some(item) = reader.next().await {
        match item.expect("reads") {
            Item::Record(record) => held.push(stored(&record)),
            skipped => panic!("{skipped:?}"),
        }
    }
    assert_eq!(held, expected.messages);

    let sequenced = expected.messages.iter().rev();
    let unnamed =
        sequenced.clone().find(|message| message.body.starts_with("unnamed")).expect("there is one");
    let again = resend(&single, &expected.topic, unnamed).await;
    assert_eq!(again, (unnamed.offset, true), "remembered (LOG-5)");
    let address = single.node.addresses().client.clone();
    let opened = Sender::open(&address, &expected.topic, &expected.named).await.expect("opens");
    assert_eq!(opened.epoch, expected.named_epoch + 1, "the name's epochs go on (LOG-6)");
    println!("{} messages at {}..{} as written", held.len(), log.start, log.end);
    assert!(single.engine.upgrade().is_some());
    single.node.stop().await;
}
