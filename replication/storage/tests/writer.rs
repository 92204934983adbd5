//! The one writer: what groups queue while the disk works becomes one synced write, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meridian_storage::{Durability, Engine, Family, MemoryEngine, WriteSet, Writer};

const GROUPS: u64 = 200;

fn row(group: u64) -> WriteSet {
    let mut set = WriteSet::default();
    set.put(Family::Log, group.to_be_bytes().to_vec(), b"an entry".to_vec());
    set
}

/// LOG-1 at a bearable price: a sync serves every group that waits for one.
#[tokio::test]
async fn what_all_groups_queue_while_the_disk_works_is_one_synced_write() {
    let engine = Arc::new(MemoryEngine::default());
    let (writer, handle) = Writer::new(Arc::clone(&engine) as Arc<dyn Engine>);
    tokio::spawn(writer.with_latency(Duration::from_millis(5)).run());
    let order = Arc::new(AtomicU64::new(0));
    let mut done = Vec::new();
    for group in 0..GROUPS {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let order = Arc::clone(&order);
        handle.submit(row(group), Durability::Synced, move |result| {
            result.expect("written");
            assert_eq!(order.fetch_add(1, Ordering::SeqCst), group, "completed in the order of the queue");
            let _ = sender.send(());
        });
        done.push(receiver);
        if group == 0 {
            // The first one is on its way to the disk when the others arrive.
            tokio::task::yield_now().await;
        }
    }
    for receiver in done {
        receiver.await.expect("completed");
    }
    let (writes, syncs) = engine.counts();
    println!("{GROUPS} groups: {writes} writes, {syncs} of them synced");
    assert!(syncs <= 2, "{syncs} syncs for what waited during one");
    engine.crash();
    for group in 0..GROUPS {
        let found = engine.get(Family::Log, &group.to_be_bytes()).expect("reads");
        assert!(found.is_some(), "group {group} was told that it is durable");
    }
}

/// Durable with the next sync, and no sync of its own.
#[tokio::test]
async fn an_ordered_write_waits_for_somebody_elses_sync() {
    let engine = Arc::new(MemoryEngine::default());
    let (writer, handle) = Writer::new(Arc::clone(&engine) as Arc<dyn Engine>);
    tokio::spawn(writer.run());
    handle.write(row(1), Durability::Ordered).await.expect("written");
    assert_eq!(engine.counts().1, 0);
    handle.write(row(2), Durability::Synced).await.expect("written");
    assert_eq!(engine.counts().1, 1);
    engine.crash();
    assert!(engine.get(Family::Log, &1u64.to_be_bytes()).expect("reads").is_some(), "ahead in the queue");
}
