//! Writes a small data folder with this build, and beside it what it holds: the fixture of a disk format.
//!
//! `cargo run -p meridian-daemon --example write_golden -- node/daemon/tests/golden/format-N`
//!
//! The folder holds every kind of file and row: messages of named, unnamed and no producers, closed segments,
//! a trim, tables and blob files from a first run, a write-ahead log from a second.

#[path = "../tests/region/single.rs"]
mod single;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::{PartitionCommand, PartitionPolicy};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Item, Message, Producer, Start};
use single::Single;

const HOST: &str = "127.0.0.1";
const TOPIC: &str = "golden";
const NAMED: &str = "clerk";
const ROUNDS: u32 = 14;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let folder = std::env::args().nth(1).map(PathBuf::from).expect("name a folder to write");
    assert!(!folder.exists(), "{} exists: a golden folder is written once", folder.display());
    in_a_run_of_its_own(async {
        let single = Single::start(&folder, HOST).await;
        single.client.admin().create_topic(NewTopic::new(TOPIC, 1)).await.expect("created");
        publish(&single, "first run", true).await;
        single
    });
    // Opening again puts what the first run left in the write-ahead log into tables and blob files.
    let mut held = String::new();
    in_a_run_of_its_own(async {
        let single = Single::start(&folder, HOST).await;
        publish(&single, "second run", false).await;
        held = expected(&single).await;
        single
    });
    std::fs::write(folder.join("expected.json"), held).expect("written");
    println!("{:>8} in all", tidy_up(&folder));
}

/// Runs a node to its end: when this returns nobody holds its folder any more.
fn in_a_run_of_its_own(run: impl Future<Output = Single>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let engine = runtime.block_on(async {
        let single = run.await;
        let engine = single.engine.upgrade().expect("the node runs");
        single.node.stop().await;
        engine
    });
    runtime.shutdown_timeout(PATIENCE);
    while Arc::strong_count(&engine) > 1 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Ours is the last: the database is closed when this returns.
    drop(engine);
}

/// Each message in a batch of its own, from three kinds of producers in turn.
async fn publish(single: &Single, run: &str, trim: bool) {
    let client = &single.client;
    let named = client.producer(TOPIC).name(NAMED).build().await.expect("opens");
    let unnamed = client.producer(TOPIC).build().await.expect("opens");
    for round in 0..ROUNDS {
        if trim && round == ROUNDS / 2 {
            trim_to(single, 2 * 1024).await;
        }
        // Longer ones go to blob files.
        let body = |kind: &str| format!("{kind} {round} of the {run}{}", ".".repeat(round as usize * 60));
        send(&named, Message::new(body("named")).with_key(format!("key-{round}"))).await;
        send(&unnamed, Message::new(body("unnamed"))).await;
        if round % 3 == 0 {
            client.publish_once(TOPIC, Some(0), vec![Message::new(body("nobody's"))]).await.expect("stored");
        }
    }
}

async fn send(producer: &Producer, message: Message) {
    producer.send(message).await.expect("sent").await.expect("stored");
}

/// Small segments from here on, and a trim of what came before.
async fn trim_to(single: &Single, keep_bytes: u64) {
    let topic = single.client.admin().get_topic(TOPIC).await.expect("is there");
    let group = single.node.registry().get(topic.partitions[0].group).expect("runs here");
    let policy = PartitionPolicy { segment_bytes: 512, ..PartitionPolicy::default() };
    let control_index = group.view().partition(|machine| machine.control_index()).unwrap_or_default();
    let stamp = group.stamp();
    let small = PartitionCommand::SetPolicy { stamp, control_index, policy };
    let before = None;
    let trim =
        PartitionCommand::Trim { stamp, before, keep_bytes: Some(keep_bytes), forget_producers_before: None };
    group.propose(&Command::Partition(small), PATIENCE).await.expect("in force");
    for round in 0..3 {
        let message = Message::new(format!("filler {round} {}", "-".repeat(600)));
        single.client.publish_once(TOPIC, Some(0), vec![message]).await.expect("stored");
    }
    group.propose(&Command::Partition(trim), PATIENCE).await.expect("trimmed");
}

/// What the folder holds, by reading it.
async fn expected(single: &Single) -> String {
    let log = single.client.get_log(TOPIC, 0, true).await.expect("answers");
    let mut reader = single.client.reader(TOPIC).start(Start::Earliest).open().await.expect("opens");
    let mut messages = Vec::new();
    let mut named_epoch = 0;
    while let Some(item) = reader.next().await {
        let Item::Record(record) = item.expect("reads") else { panic!("nothing is trimmed meanwhile") };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        if record.body.starts_with(b"named") {
            named_epoch = record.epoch;
        }
        messages.push(serde_json::json!({
            "offset": record.offset.0,
            "appended_at_ms": record.appended_at.0,
            "producer": record.producer.to_string(),
            "epoch": record.epoch,
            "sequence": record.sequence,
            "key": record.key.as_ref().map(|key| text(key)),
            "body": text(&record.body),
        }));
    }
    let chain_head: String = log.chain_head.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = serde_json::json!({
        "topic": TOPIC,
        "named": NAMED,
        "named_epoch": named_epoch,
        "log_start": log.start.0,
        "log_end": log.end.0,
        "chain_head": chain_head,
        "messages": messages,
    });
    println!("{} messages at {}..{}", messages.len(), log.start, log.end);
    serde_json::to_string_pretty(&expected).expect("is JSON") + "\n"
}

/// Removes what says where and when it was written, and is not needed to read it. Returns the bytes left.
fn tidy_up(folder: &Path) -> u64 {
    let mut left = 0;
    for entry in std::fs::read_dir(folder).expect("reads") {
        let path = entry.expect("reads").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            left += tidy_up(&path);
        } else if name.starts_with("LOG") || name.starts_with("OPTIONS") || name.eq_ignore_ascii_case("lock")
        {
            std::fs::remove_file(&path).expect("removed");
        } else {
            let bytes = std::fs::metadata(&path).expect("has a size").len();
            println!("{bytes:>8} {}", path.display());
            left += bytes;
        }
    }
    left
}
