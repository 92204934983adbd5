//! The logs in memory keep the contract, and do what tests ask of them.

use futures::executor::block_on;
use meridian_commitlog::conformance::{CursorSubject, Subject, all, cursors};
use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{Append, AppendError, ReadCommitted, ReadError};
use meridian_model::limits::DEDUP_HORIZON_MS;
use meridian_model::subscription::{SubscriptionKind, SubscriptionRules};
use meridian_model::{
    Batch, BatchBuilder, Codec, GroupId, Message, NodeId, Offset, ProducerId, Refusal, SubscriptionId, UnixMs,
};

const GROUP: GroupId = GroupId(7);
const NOW: UnixMs = UnixMs(1_000_000_000_000);

fn batch(producer: u128) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(ProducerId::from_u128(producer), 1, 0);
    builder.push(&Message::new("hello"));
    builder.build().expect("a batch")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new(NOW);
    log.create(GROUP);
    log
}

#[test]
fn logs_in_memory_keep_the_contract() {
    let log = log();
    let subject = Subject { append: &log, read: &log, group: GROUP, absent: GroupId(99), opened_at: NOW };
    let checks = block_on(all(&subject));
    // Once more, over what the first run left, at another time and behind a trim.
    log.pass(10);
    log.trim(GROUP, Offset(20));
    assert!(log.bounds(GROUP).expect("is here").start > Offset(0));
    println!("{checks} checks, twice; {} also behind a trim", block_on(all(&subject)));
}

#[test]
fn subscriptions_in_memory_keep_the_contract() {
    let log = log();
    let (shared, failover, absent) = (SubscriptionId(4), SubscriptionId(5), SubscriptionId(6));
    for (subscription, kind) in [(shared, SubscriptionKind::Shared), (failover, SubscriptionKind::Failover)] {
        let rules = SubscriptionRules { kind, ..SubscriptionRules::default() };
        log.subscribe(GROUP, subscription, rules);
    }
    let subject = || CursorSubject {
        log: Subject { append: &log, read: &log, group: GROUP, absent: GroupId(99), opened_at: NOW },
        cursors: &log,
        shared,
        failover,
        absent,
    };
    let checks = block_on(cursors(&subject()));
    log.pass(10);
    log.trim(GROUP, Offset(8));
    println!("{checks} checks, twice; {} also behind a trim", block_on(cursors(&subject())));
}

#[test]
fn what_is_trimmed_is_out_of_range() {
    let log = log();
    for producer in 1..=4 {
        block_on(async { log.append(GROUP, batch(producer), NOW, Box::new(())).await?.await })
            .expect("stored");
    }
    log.trim(GROUP, Offset(3));
    let bounds = log.bounds(GROUP).expect("is here");
    assert_eq!((bounds.start, bounds.end), (Offset(3), Offset(4)));
    let read = block_on(log.read(GROUP, Offset(2), 1));
    assert_eq!(read, Err(ReadError::OutOfRange { offset: Offset(2), start: Offset(3), end: Offset(4) }));
}

#[test]
fn an_old_token_is_refused() {
    let log = log();
    log.pass(DEDUP_HORIZON_MS + 1);
    let refused = block_on(async { log.append(GROUP, batch(1), NOW, Box::new(())).await?.await });
    assert_eq!(refused, Err(AppendError::Refused(Refusal::TokenExpired)));
}

#[test]
fn a_partition_can_be_led_elsewhere() {
    let log = log();
    log.led_elsewhere(GROUP, Some(NodeId(2)));
    let refused = block_on(log.append(GROUP, batch(1), NOW, Box::new(()))).err();
    assert_eq!(refused, Some(AppendError::NotLeader { leader: Some(NodeId(2)) }));
    assert_eq!(log.bounds(GROUP).expect("still read here").end, Offset(0));
}
