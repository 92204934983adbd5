//! A dispatch room over logs in memory: what consumers hear, and what is settled when they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{Append, Cursors, SeekTo};
use meridian_deliver::subscription::{DispatchBounds, Join};
use meridian_dispatch::{Attach, Attached, Letterbox, PageBudget, Room};
use meridian_model::subscription::{SubscriptionKind, SubscriptionRules};
use meridian_model::{
    Batch, BatchBuilder, Clock, Codec, ConsumerId, GroupId, LogId, Message, SubscriptionId, UnixMs,
};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    DeliveredRange, DeliveryEpochs, ErrorReason, SourceState, SubscribeAck, SubscribeCredit,
};

const GROUP: GroupId = GroupId(3);
const SHARED: SubscriptionId = SubscriptionId(11);
const EXCLUSIVE: SubscriptionId = SubscriptionId(12);
const NOW: UnixMs = UnixMs(1_000_000_000_000);
const ALICE: ConsumerId = ConsumerId::from_u128(1);
const BOB: ConsumerId = ConsumerId::from_u128(2);

/// Time since the test began, which a paused runtime moves, and by how much the clock was set, in milliseconds.
struct Running {
    since: tokio::time::Instant,
    ahead_ms: AtomicI64,
}

impl Clock for Running {
    fn now(&self) -> UnixMs {
        let now = NOW.plus_ms(self.since.elapsed().as_millis() as u64);
        UnixMs(now.0.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)))
    }
}

struct NoLetters;

impl Letterbox for NoLetters {
    fn destination(&self, _: GroupId, _: SubscriptionId) -> Option<LogId> {
        None
    }
}

struct Scene {
    log: Arc<MemoryLog>,
    room: Arc<Room>,
    clock: Arc<Running>,
}

impl Scene {
    fn new(kept_bytes: usize) -> Self {
        let log = Arc::new(MemoryLog::new(NOW));
        log.create(GROUP);
        let of = |kind| SubscriptionRules { kind, lease_ms: 5_000, ..SubscriptionRules::default() };
        log.subscribe(GROUP, SHARED, of(SubscriptionKind::Shared));
        log.subscribe(GROUP, EXCLUSIVE, of(SubscriptionKind::Exclusive));
        let clock = Arc::new(Running { since: tokio::time::Instant::now(), ahead_ms: AtomicI64::new(0) });
        let (reads, cursors) = (Arc::clone(&log) as _, Arc::clone(&log) as _);
        let budget = PageBudget::new(kept_bytes);
        let wall = Arc::clone(&clock) as _;
        let room = Room::new(reads, cursors, wall, Arc::new(NoLetters), DispatchBounds::default(), budget);
        Self { log, room, clock }
    }

    async fn publish(&self, bodies: std::ops::Range<u64>) {
        let mut builder = BatchBuilder::new(Codec::Lz4);
        bodies.for_each(|body| builder.push(&Message::new(body.to_string())));
        let batch: Batch = builder.build().expect("a batch");
        let ticket = self.log.append(GROUP, batch, NOW, Box::new(())).await.expect("is led here");
        ticket.await.expect("is stored");
    }

    async fn attach(&self, subscription: SubscriptionId, consumer: ConsumerId, batches: bool) -> Heard {
        let kind =
            if subscription == SHARED { SubscriptionKind::Shared } else { SubscriptionKind::Exclusive };
        let (priority, ranges, holds) = (0, Vec::new(), Vec::new());
        let join = Join { consumer, kind, priority, ranges, holds, seek_epoch: 0 };
        let attach = Attach { group: GROUP, subscription, join, source: 7, batches };
        let attached = self.room.attach(attach);
        let credit = SubscribeCredit { messages: 10_000, bytes: 1 << 30 };
        assert!(attached.speaker().say(Request::Credit(credit)).await);
        Heard { attached, epochs: None, requests: 0 }
    }

    fn backlog(&self, subscription: SubscriptionId) -> u64 {
        self.log.glance(GROUP, subscription).expect("is led here").backlog_messages
    }
}

/// A consumer, and what it heard.
struct Heard {
    attached: Attached,
    epochs: Option<DeliveryEpochs>,
    requests: u64,
}

impl Heard {
    /// The bodies of the next messages, and their offsets.
    async fn messages(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.attached.answer().await.expect("is served") {
                Response::Messages(frame) => {
                    self.epochs = frame.epochs;
                    for delivered in frame.messages {
                        let stored = delivered.message.expect("a message");
                        messages
                            .push((stored.offset, String::from_utf8(stored.body.to_vec()).expect("text")));
                    }
                }
                Response::Batches(frame) => {
                    self.epochs = frame.epochs;
                    for range in frame.ranges {
                        messages.extend((range.from..range.to).map(|offset| (offset, String::new())));
                    }
                }
                _ => {}
            }
        }
        messages
    }

    /// Acks, and waits until that is confirmed.
    async fn ack(&mut self, from: u64, to: u64) {
        self.requests += 1;
        let ack = SubscribeAck {
            request: self.requests,
            source: 7,
            epochs: self.epochs,
            ranges: vec![DeliveredRange { from, to, deliver_at_ms: 0 }],
            cumulative: None,
        };
        assert!(self.attached.speaker().say(Request::Ack(ack)).await);
        loop {
            match self.attached.answer().await.expect("is served") {
                Response::Confirmed(frame) if frame.requests.contains(&self.requests) => return,
                Response::Refused(frame) => panic!("refused: {frame:?}"),
                _ => {}
            }
        }
    }
}

fn bodies(range: std::ops::Range<u64>) -> Vec<(u64, String)> {
    range.map(|body| (body, body.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_subscription_gets_every_message_and_settles_it_apart() {
    let scene = Scene::new(1 << 20);
    scene.publish(0..50).await;
    let mut shared = scene.attach(SHARED, ALICE, false).await;
    let mut owner = scene.attach(EXCLUSIVE, BOB, true).await;
    assert_eq!(shared.messages(50).await, bodies(0..50));
    assert_eq!(owner.messages(50).await.len(), 50);
    scene.publish(50..80).await;
    assert_eq!(shared.messages(30).await, bodies(50..80), "what comes later, too");
    assert_eq!((scene.backlog(SHARED), scene.backlog(EXCLUSIVE)), (80, 80), "nothing is acked");
    shared.ack(10, 20).await;
    shared.ack(0, 10).await;
    assert_eq!((scene.backlog(SHARED), scene.backlog(EXCLUSIVE)), (60, 80));
    owner.messages(30).await;
    owner.ack(0, 80).await;
    assert_eq!((scene.backlog(SHARED), scene.backlog(EXCLUSIVE)), (60, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_consumer_that_left_held_goes_to_another_at_once() {
    let scene = Scene::new(1 << 20);
    scene.publish(0..10).await;
    let mut alice = scene.attach(SHARED, ALICE, false).await;
    assert_eq!(alice.messages(10).await.len(), 10);
    alice.ack(3, 5).await;
    let mut bob = scene.attach(SHARED, BOB, false).await;
    alice.attached.speaker().clone().leave().await;
    let left = [bodies(0..3), bodies(5..10)].concat();
    assert_eq!(bob.messages(8).await, left);
}

#[tokio::test(start_paused = true)]
async fn messages_whose_batches_are_kept_no_more_are_read_again() {
    let scene = Scene::new(0);
    for batch in 0..40 {
        scene.publish(batch * 1_000..(batch + 1) * 1_000).await;
    }
    let mut alice = scene.attach(SHARED, ALICE, false).await;
    assert_eq!(alice.messages(10_000).await.len(), 10_000, "as much as there is credit for");
    let mut bob = scene.attach(SHARED, BOB, false).await;
    drop(alice);
    let again = bob.messages(10_000).await;
    assert_eq!(again[0].1, again[0].0.to_string());
    assert!(again.iter().all(|(offset, body)| *body == offset.to_string()), "the bodies are the right ones");
}

#[tokio::test(start_paused = true)]
async fn a_part_ends_when_the_partition_is_led_elsewhere() {
    let scene = Scene::new(1 << 20);
    scene.publish(0..10).await;
    let mut alice = scene.attach(SHARED, ALICE, false).await;
    assert_eq!(alice.messages(10).await.len(), 10);
    scene.log.led_elsewhere(GROUP, None);
    assert!(alice.attached.answer().await.is_none());
    let mut again = scene.attach(SHARED, ALICE, false).await.attached;
    assert!(again.answer().await.is_none(), "and nobody is let in");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.room.partitions(), 0, "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn a_second_consumer_of_an_exclusive_subscription_is_told_why_it_is_refused() {
    let scene = Scene::new(1 << 20);
    scene.publish(0..1).await;
    let mut alice = scene.attach(EXCLUSIVE, ALICE, false).await;
    let Some(Response::Source(source)) = alice.attached.answer().await else { panic!("a welcome") };
    assert_eq!(
        (source.state(), source.failure),
        (SourceState::Attached, None),
        "the first is told that it is in"
    );
    assert_eq!(alice.messages(1).await.len(), 1);
    let mut bob = scene.attach(EXCLUSIVE, BOB, false).await.attached;
    let Some(Response::Source(source)) = bob.answer().await else { panic!("a refusal") };
    assert_eq!(source.state(), SourceState::Ended);
    assert_eq!(source.failure.expect("why").reason(), ErrorReason::ConsumerPresent);
    assert!(bob.answer().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_seek_by_somebody_else_is_noticed() {
    let scene = Scene::new(1 << 20);
    scene.publish(0..10).await;
    let mut alice = scene.attach(SHARED, ALICE, false).await;
    assert_eq!(alice.messages(10).await.len(), 10);
    alice.ack(0, 10).await;
    scene.log.seek(GROUP, SHARED, SeekTo::Earliest).await.expect("is led here");
    assert_eq!(alice.messages(10).await, bodies(0..10), "once more");
    alice.ack(0, 10).await;
    assert_eq!(scene.backlog(SHARED), 0);
}

/// Leases are 5 seconds long.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_by_an_hour_ends_no_lease_and_stops_none() {
    for by_ms in [3_600_000, -3_600_000] {
        let scene = Scene::new(1 << 20);
        scene.publish(0..2).await;
        let mut alice = scene.attach(SHARED, ALICE, false).await;
        assert_eq!(alice.messages(2).await.len(), 2);
        scene.clock.ahead_ms.store(by_ms, Ordering::Relaxed);
        while let Some(answer) = alice.attached.answer().await {
            assert!(!matches!(answer, Response::Messages(_)), "a lease ended: {answer:?}");
        }
        let mut again = scene.attach(SHARED, ALICE, false).await;
        again.epochs = alice.epochs;
        again.ack(0, 1).await;
        drop(again);
        let mut bob = scene.attach(SHARED, BOB, false).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(bob.messages(1).await, bodies(1..2), "what is not acked comes again");
        assert!(begun.elapsed() < Duration::from_secs(60), "and soon: {:?}", begun.elapsed());
        bob.ack(1, 2).await;
        assert_eq!(scene.backlog(SHARED), 0);
    }
}
