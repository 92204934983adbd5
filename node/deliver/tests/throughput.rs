//! Many messages through one dispatcher, each acked on its own: nothing is left of them, and the time is printed.

use std::time::Instant;

use meridian_commitlog::{LogBounds, Standing};
use meridian_deliver::subscription::{
    Action, BatchMeta, DispatchBounds, Dispatcher, Event, Join, MessageMeta, Said,
};
use meridian_model::subscription::{DelayedRange, SubscriptionKind, SubscriptionRules};
use meridian_model::{ConsumerId, Offset, OffsetRange, UnixMs};

const MESSAGES: u64 = 200_000;
const BATCH: u64 = 100;
const CONSUMERS: u128 = 4;
const NOW: UnixMs = UnixMs(1_000_000);

fn batch(base: u64) -> BatchMeta {
    let message = |number: u64| MessageMeta { key_hash: (base + number) % 97 + 1, bytes: 100 };
    BatchMeta {
        base: Offset(base),
        appended_at: UnixMs(1),
        deliver_at: UnixMs(0),
        expire_at: UnixMs(0),
        messages: (0..BATCH).map(message).collect(),
    }
}

/// The partition: answers at once, but commits only when everything else is done.
fn answer(action: Action, events: &mut Vec<Event>, commits: &mut Vec<Event>, acked: &mut u64) {
    match action {
        Action::Fetch { fetch, from, .. } => {
            let bases = (from.0..MESSAGES).step_by(BATCH as usize).take(20);
            events.push(Event::Fetched { fetch, batches: bases.map(batch).collect() });
        }
        Action::FetchDelayed { fetch, .. } => {
            events.push(Event::Due { fetch, batches: Vec::new(), next: None, due_next: None });
        }
        Action::Deliver(delivery) => {
            let (consumer, place) = (delivery.consumer, delivery.place);
            let about =
                vec![DelayedRange { deliver_at: place.deliver_at, range: OffsetRange::one(place.offset) }];
            events.push(Event::Credit { consumer, messages: 1, bytes: 100 });
            events.push(Event::Ack(Said { consumer, request: place.offset.0, under: delivery.under, about }));
        }
        Action::Settle { token, .. } => {
            commits.push(Event::Committed { token, stamp: UnixMs(1), outbox_room: 0 });
        }
        Action::Confirm { .. } => *acked += 1,
        Action::WakeAt(_) => {}
        other => panic!("nobody asked for {other:?}"),
    }
}

fn drive(kind: SubscriptionKind) -> u64 {
    let rules = SubscriptionRules { kind, ..SubscriptionRules::default() };
    let standing = Standing { rules, dispatch_epoch: 1, stamp: UnixMs(1), ..Standing::default() };
    let log = LogBounds { end: Offset(MESSAGES), ..LogBounds::default() };
    let mut dispatcher = Dispatcher::new(standing, log, DispatchBounds::default(), NOW, false);
    let (mut events, mut commits, mut out, mut acked) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for consumer in (1..=CONSUMERS).map(ConsumerId::from_u128) {
        let (ranges, holds) = (Vec::new(), Vec::new());
        events.push(Event::Credit { consumer, messages: 200, bytes: 20_000 });
        events.push(Event::Joined(Join { consumer, kind, priority: 0, ranges, holds, seek_epoch: 0 }));
    }
    for number in 0u64.. {
        // A round takes as long as some hundred events.
        let round = if number.is_multiple_of(500) { commits.pop() } else { None };
        let Some(event) = round.or_else(|| events.pop()).or_else(|| commits.pop()) else { break };
        dispatcher.handle(NOW, event, &mut out);
        for action in out.drain(..) {
            answer(action, &mut events, &mut commits, &mut acked);
        }
    }
    acked
}

#[test]
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
fn each_of_many_messages_is_confirmed() {
    for kind in [SubscriptionKind::Shared, SubscriptionKind::KeyShared] {
        let started = Instant::now();
        assert_eq!(drive(kind), MESSAGES);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{kind:?}: {MESSAGES} messages in {seconds:.2} s, {:.0} a second",
            MESSAGES as f64 / seconds
        );
    }
}
