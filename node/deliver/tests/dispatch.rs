//! A dispatcher over logs in memory: from publishing to confirmed acks, and over a change of leaders.

use std::sync::Arc;

use futures::executor::block_on;
use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{Append, CursorRefusal, Cursors, Mandate, ReadCommitted};
use meridian_deliver::subscription::{
    Action, BatchMeta, Delivery, DispatchBounds, Dispatcher, Event, Join, MessageMeta, Said,
};
use meridian_model::subscription::{DelayedRange, Settlement, SubscriptionKind, SubscriptionRules};
use meridian_model::{
    Batch, BatchBuilder, Codec, ConsumerId, GroupId, LogId, Message, Offset, OffsetRange, Place,
};
use meridian_model::{SubscriptionId, UnixMs, batch::decode_messages, hash::key_hash};

const GROUP: GroupId = GroupId(3);
const SUBSCRIPTION: SubscriptionId = SubscriptionId(11);
const NOW: UnixMs = UnixMs(1_000_000_000_000);
const ALICE: ConsumerId = ConsumerId::from_u128(1);
const BOB: ConsumerId = ConsumerId::from_u128(2);

/// Carries out what a dispatcher wants, over a log in memory.
struct Daemon {
    log: Arc<MemoryLog>,
    dispatcher: Dispatcher,
    now: UnixMs,
    delivered: Vec<Delivery>,
    confirmed: Vec<(ConsumerId, u64)>,
}

impl Daemon {
    fn begin(log: &Arc<MemoryLog>, now: UnixMs) -> Self {
        let awaits = log.standing(GROUP, SUBSCRIPTION).expect("is here").dispatch_epoch > 0;
        block_on(log.begin_dispatch(GROUP)).expect("begins");
        let standing = log.standing(GROUP, SUBSCRIPTION).expect("is here");
        let bounds = log.bounds(GROUP).expect("is here");
        let dispatcher = Dispatcher::new(standing, bounds, DispatchBounds::default(), now, awaits);
        let (delivered, confirmed) = (Vec::new(), Vec::new());
        let mut daemon = Self { log: Arc::clone(log), dispatcher, now, delivered, confirmed };
        daemon.tell(Event::Outbox { room: 10, to: Some(LogId::from_u128(5)) });
        daemon
    }

    /// Tells the dispatcher, and whatever follows from that.
    fn tell(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.dispatcher.handle(self.now, event, &mut actions);
            events.extend(actions.into_iter().filter_map(|action| self.act(action)));
        }
    }

    fn pass(&mut self, ms: u64) {
        self.log.pass(ms);
        self.now = self.now.plus_ms(ms);
        self.tell(Event::Tick);
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        let log = Arc::clone(&self.log);
        match action {
            Action::Fetch { fetch, from, bytes } => {
                let read = block_on(log.read(GROUP, from, bytes)).expect("reads");
                let batches = read.iter().map(|b| described(b.base, b.appended_at, &b.bytes)).collect();
                Some(Event::Fetched { fetch, batches })
            }
            Action::FetchDelayed { fetch, from, through, bytes } => {
                let page = block_on(log.delayed(GROUP, from, through, bytes)).expect("reads");
                let batches =
                    page.batches.iter().map(|b| described(b.base, b.appended_at, &b.bytes)).collect();
                Some(Event::Due { fetch, batches, next: page.next, due_next: page.due_next })
            }
            Action::Settle { token, mandate, settlement } => {
                let done = block_on(log.settle(GROUP, vec![(mandate, *settlement)]));
                Some(match done.map(|outcomes| outcomes[0]) {
                    Ok(Ok(done)) => {
                        Event::Committed { token, stamp: done.stamp, outbox_room: done.outbox_room }
                    }
                    Ok(Err(refusal)) => Event::CommitFailed(token, refusal.into()),
                    Err(error) => Event::CommitFailed(token, error),
                })
            }
            Action::Own { token, consumer } => {
                Some(match block_on(log.own(GROUP, SUBSCRIPTION, Some(consumer))) {
                    Ok(epoch) => Event::Owned(token, epoch),
                    Err(error) => Event::OwnFailed(token, error),
                })
            }
            Action::Deliver(delivery) => {
                self.delivered.push(delivery);
                None
            }
            Action::Confirm { consumer, request } => {
                self.confirmed.push((consumer, request));
                None
            }
            Action::WakeAt(_) => None,
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn join(&mut self, consumer: ConsumerId, kind: SubscriptionKind, holds: Vec<Place>) {
        self.tell(Event::Joined(Join {
            consumer,
            kind,
            priority: 0,
            ranges: Vec::new(),
            holds,
            seek_epoch: 0,
        }));
        self.tell(Event::Credit { consumer, messages: 1_000, bytes: 1_000_000 });
    }

    fn ack(&mut self, delivery: &Delivery, request: u64) {
        let (consumer, under) = (delivery.consumer, delivery.under);
        let place = delivery.place;
        let about =
            vec![DelayedRange { deliver_at: place.deliver_at, range: OffsetRange::one(place.offset) }];
        self.tell(Event::Ack(Said { consumer, request, under, about }));
    }

    fn floor(&self) -> Offset {
        self.log.standing(GROUP, SUBSCRIPTION).expect("is here").floor
    }
}

fn described(base: Offset, appended_at: UnixMs, bytes: &bytes::Bytes) -> BatchMeta {
    let batch = Batch::verify(bytes.clone()).expect("a batch");
    let meta = |message: &Message| MessageMeta {
        key_hash: message.key.as_deref().map_or(0, key_hash),
        bytes: message.body.len() as u32,
    };
    BatchMeta {
        base,
        appended_at,
        deliver_at: batch.header().deliver_at,
        expire_at: batch.header().expire_at,
        messages: decode_messages(&batch).expect("messages").iter().map(meta).collect(),
    }
}

/// A batch of `count` messages, to be delivered at a time; zero is at once.
fn batch(count: u64, deliver_at: UnixMs) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    (0..count).for_each(|number| builder.push(&Message::new(format!("message {number}"))));
    let plain = builder.build().expect("a batch");
    let mut header = plain.header().clone();
    header.deliver_at = deliver_at;
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(&plain.bytes()[plain.header().header_bytes()..]);
    Batch::verify(bytes.into()).expect("a batch")
}

fn append(log: &MemoryLog, batch: Batch) {
    block_on(async { log.append(GROUP, batch, NOW, Box::new(())).await?.await }).expect("stored");
}

fn log(kind: SubscriptionKind) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new(NOW));
    log.create(GROUP);
    let rules = SubscriptionRules { kind, attempts_max: Some(3), ..SubscriptionRules::default() };
    log.subscribe(GROUP, SUBSCRIPTION, rules);
    log
}

/// SUB-1, SUB-2.
#[test]
fn what_is_acked_is_confirmed_and_moves_the_floor() {
    let log = log(SubscriptionKind::Shared);
    (0..3).for_each(|_| append(&log, batch(4, UnixMs(0))));
    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(ALICE, SubscriptionKind::Shared, Vec::new());
    daemon.join(BOB, SubscriptionKind::Shared, Vec::new());
    let offsets: Vec<u64> = daemon.delivered.iter().map(|delivery| delivery.place.offset.0).collect();
    assert_eq!(offsets, (0..12).collect::<Vec<_>>(), "all of them, once");
    for (delivery, request) in daemon.delivered.clone().iter().rev().zip(1..) {
        daemon.ack(delivery, request);
    }
    assert_eq!((daemon.confirmed.len(), daemon.floor()), (12, Offset(12)));
}

/// SUB-1: what was held is kept by whoever says so, and the rest is delivered again after the grace.
#[test]
fn consumers_keep_what_they_hold_over_a_change_of_leaders() {
    let log = log(SubscriptionKind::Shared);
    append(&log, batch(6, UnixMs(0)));
    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(ALICE, SubscriptionKind::Shared, Vec::new());
    let before = daemon.delivered.clone();
    daemon.ack(&before[0], 1);

    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(ALICE, SubscriptionKind::Shared, vec![Place::main(Offset(1)), Place::main(Offset(2))]);
    daemon.join(BOB, SubscriptionKind::Shared, Vec::new());
    assert!(daemon.delivered.is_empty(), "there is grace");
    daemon.pass(2_000);
    let again: Vec<u64> = daemon.delivered.iter().map(|delivery| delivery.place.offset.0).collect();
    assert_eq!(again, [3, 4, 5]);
    daemon.ack(&before[1], 2);
    daemon.ack(&before[5], 3);
    daemon.confirmed.sort_unstable();
    assert_eq!(daemon.confirmed, [(ALICE, 2), (ALICE, 3)], "late acks count, whoever has the message now");
    let standing = log.standing(GROUP, SUBSCRIPTION).expect("is here");
    assert_eq!((standing.floor, standing.settled), (Offset(2), vec![OffsetRange::one(Offset(5))]));
}

/// SUB-6: the clock alone is not enough, and no message comes along that would move the stamp.
#[test]
fn a_delayed_message_is_delivered_when_a_stamp_says_that_it_is_due() {
    let log = log(SubscriptionKind::Shared);
    append(&log, batch(1, NOW.plus_ms(500)));
    append(&log, batch(1, UnixMs(0)));
    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(ALICE, SubscriptionKind::Shared, Vec::new());
    assert_eq!(daemon.delivered.len(), 1, "the other one");
    daemon.ack(&daemon.delivered[0].clone(), 1);
    assert_eq!(daemon.floor(), Offset(2), "what is delayed was passed, and is no hole");
    daemon.pass(499);
    assert_eq!(daemon.delivered.len(), 1);
    daemon.pass(1);
    assert_eq!(daemon.delivered.last().map(|delivery| delivery.place.offset), Some(Offset(0)));
    daemon.ack(&daemon.delivered[1].clone(), 2);
    assert_eq!(daemon.confirmed.len(), 2);
    let standing = log.standing(GROUP, SUBSCRIPTION).expect("is here");
    assert!(standing.delayed_floor > daemon.delivered[1].place, "nothing is left to be remembered");
    assert_eq!(standing.delayed_settled, []);
}

/// SUB-3: the owner is committed before it gets anything, and an earlier dispatcher cannot settle for it.
#[test]
fn an_owner_is_committed_and_what_came_before_is_fenced() {
    let log = log(SubscriptionKind::Failover);
    append(&log, batch(2, UnixMs(0)));
    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(ALICE, SubscriptionKind::Failover, Vec::new());
    let standing = log.standing(GROUP, SUBSCRIPTION).expect("is here");
    assert_eq!((standing.owner, standing.owner_epoch), (Some(ALICE), 1));
    assert!(daemon.delivered.iter().all(|delivery| delivery.under.owner == 1));
    let old = daemon.delivered[0].under;
    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(BOB, SubscriptionKind::Failover, Vec::new());
    daemon.pass(2_000);
    assert_eq!(daemon.delivered.len(), 2, "once the owner from before had its time to come back");
    let mandate = Mandate { subscription: SUBSCRIPTION, seek_epoch: old.seek, owner_epoch: Some(old.owner) };
    let settlement = Settlement { acked: vec![OffsetRange::one(Offset(0))], ..Settlement::default() };
    let late = block_on(log.settle(GROUP, vec![(mandate, settlement)])).expect("one round");
    assert!(matches!(late[..], [Err(CursorRefusal::StaleOwner { .. })]), "{late:?}");
}

/// SUB-1. Found by the simulation: a leader whose clock was ahead by a year let a message wait until then.
#[test]
fn a_backoff_that_a_clock_from_the_future_wrote_down_is_no_longer_than_the_rules_say() {
    let log = log(SubscriptionKind::Shared);
    append(&log, batch(1, UnixMs(0)));
    let year_ahead = NOW.plus_ms(365 * 24 * 3_600_000);
    let mut daemon = Daemon::begin(&log, year_ahead);
    daemon.join(ALICE, SubscriptionKind::Shared, Vec::new());
    let Delivery { consumer, place, under, .. } = daemon.delivered[0];
    daemon.tell(Event::Nack(Said { consumer, request: 1, under, about: vec![place] }));

    let mut daemon = Daemon::begin(&log, NOW);
    daemon.join(BOB, SubscriptionKind::Shared, Vec::new());
    daemon.pass(2_000);
    assert!(daemon.delivered.is_empty(), "it waits all the same");
    for _ in 0..3 {
        daemon.tell(Event::Heartbeat(BOB));
        daemon.pass(2_000);
    }
    assert_eq!(daemon.delivered.iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [2]);
}
