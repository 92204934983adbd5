//! SUB-5: a key moves only after its earlier messages are settled.

use meridian_commitlog::{LogBounds, Standing};
use meridian_deliver::subscription::{
    Action, BatchMeta, DispatchBounds, Dispatcher, Epochs, Event, Join, MessageMeta, Said,
};
use meridian_model::subscription::{DelayedRange, SubscriptionKind, SubscriptionRules};
use meridian_model::{ConsumerId, Offset, OffsetRange, UnixMs};

const ALICE: ConsumerId = ConsumerId::from_u128(1);
const NOW: UnixMs = UnixMs(1_000_000);
const KIND: SubscriptionKind = SubscriptionKind::KeyShared;

/// Six messages of one key.
fn dispatcher() -> Dispatcher {
    let rules = SubscriptionRules { kind: KIND, ..SubscriptionRules::default() };
    let standing = Standing { rules, dispatch_epoch: 5, ..Standing::default() };
    let log = LogBounds { end: Offset(6), ..LogBounds::default() };
    Dispatcher::new(standing, log, DispatchBounds::default(), NOW, false)
}

fn tell(dispatcher: &mut Dispatcher, event: Event) -> Vec<Action> {
    let mut out = Vec::new();
    dispatcher.handle(NOW, event, &mut out);
    out
}

fn fetched_from(actions: &[Action]) -> Option<Offset> {
    actions.iter().find_map(|action| match action {
        Action::Fetch { from, .. } => Some(*from),
        _ => None,
    })
}

fn batch(base: u64, count: usize) -> BatchMeta {
    BatchMeta {
        base: Offset(base),
        appended_at: UnixMs(1),
        deliver_at: UnixMs(0),
        expire_at: UnixMs(0),
        messages: vec![MessageMeta { key_hash: 9, bytes: 10 }; count],
    }
}

/// Found by a random schedule. What is not read cannot hold its key back.
#[test]
fn a_message_that_was_acked_before_it_was_read_is_read_all_the_same() {
    let mut dispatcher = dispatcher();
    let (ranges, holds) = (Vec::new(), Vec::new());
    let join = Join { consumer: ALICE, kind: KIND, priority: 0, ranges, holds, seek_epoch: 0 };
    let asked = tell(&mut dispatcher, Event::Joined(join));
    let fetch = asked.iter().find_map(|action| match action {
        Action::Fetch { fetch, .. } => Some(*fetch),
        _ => None,
    });
    let about = vec![DelayedRange { deliver_at: UnixMs(0), range: OffsetRange::new(Offset(3), Offset(4)) }];
    let under = Epochs { dispatch: 4, owner: 0, seek: 0 };
    let late = tell(&mut dispatcher, Event::Ack(Said { consumer: ALICE, request: 1, under, about }));
    assert!(late.iter().any(|action| matches!(action, Action::Settle { .. })), "{late:?}");
    let batches = vec![batch(0, 3)];
    let next = tell(&mut dispatcher, Event::Fetched { fetch: fetch.expect("a fetch"), batches });
    assert_eq!(fetched_from(&next), Some(Offset(3)), "{next:?}");
}
