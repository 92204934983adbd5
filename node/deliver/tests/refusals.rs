//! What consumers get wrong is refused with its reason, changes nothing, and does not end their streams.

use meridian_commitlog::{CursorError, CursorRefusal, LogBounds, SeekTo, Standing};
use meridian_deliver::subscription::{
    Action, BatchMeta, Delivery, DispatchBounds, Dispatcher, Epochs, Event, Join, KeyRange, MessageMeta,
    Refusal, Said, Stopped, Token,
};
use meridian_model::subscription::{DelayedRange, SubscriptionKind, SubscriptionRules};
use meridian_model::{ConsumerId, Offset, OffsetRange, Place, UnixMs};

const ALICE: ConsumerId = ConsumerId::from_u128(1);
const BOB: ConsumerId = ConsumerId::from_u128(2);
const MESSAGES: u64 = 6;
const LEASE_MS: u64 = 1_000;
const START: u64 = 1_000_000;

fn one(place: Place) -> DelayedRange {
    DelayedRange { deliver_at: place.deliver_at, range: OffsetRange::one(place.offset) }
}

/// A dispatcher over a log of six messages, and what it did last.
struct Stage {
    dispatcher: Dispatcher,
    now: u64,
    done: Vec<Action>,
}

impl Stage {
    fn new(kind: SubscriptionKind) -> Self {
        let rules = SubscriptionRules { kind, lease_ms: LEASE_MS, ..SubscriptionRules::default() };
        let standing = Standing { rules, dispatch_epoch: 5, seek_epoch: 2, ..Standing::default() };
        let log = LogBounds { end: Offset(MESSAGES), ..LogBounds::default() };
        let dispatcher = Dispatcher::new(standing, log, DispatchBounds::default(), UnixMs(START), false);
        Self { dispatcher, now: START, done: Vec::new() }
    }

    /// Alice has two of the six messages, and Bob, where there may be two, has none.
    fn begun(kind: SubscriptionKind) -> (Self, Vec<Delivery>) {
        let mut stage = Self::new(kind);
        stage.join(ALICE, kind, &[]);
        if kind.is_owned() {
            stage.keep(Event::Owned(stage.asked(), 1));
        }
        let Some(Action::Fetch { fetch, .. }) = stage.first(|action| matches!(action, Action::Fetch { .. }))
        else {
            panic!("nothing is fetched: {:?}", stage.done)
        };
        let messages = (0..MESSAGES).map(|key| MessageMeta { key_hash: key << 60, bytes: 10 }).collect();
        let zero = UnixMs(0);
        let batch = BatchMeta {
            base: Offset(0),
            appended_at: UnixMs(1),
            deliver_at: zero,
            expire_at: zero,
            messages,
        };
        stage.keep(Event::Fetched { fetch, batches: vec![batch] });
        stage.tell(Event::Credit { consumer: ALICE, messages: 2, bytes: 100 });
        let deliveries = stage.done.iter().filter_map(|action| match action {
            Action::Deliver(delivery) => Some(*delivery),
            _ => None,
        });
        let deliveries: Vec<Delivery> = deliveries.collect();
        assert_eq!(deliveries.len(), 2);
        if kind == SubscriptionKind::Shared {
            stage.join(BOB, kind, &[]);
        }
        (stage, deliveries)
    }

    fn tell(&mut self, event: Event) {
        self.done.clear();
        self.keep(event);
    }

    fn keep(&mut self, event: Event) {
        self.dispatcher.handle(UnixMs(self.now), event, &mut self.done);
    }

    fn first(&self, which: impl Fn(&Action) -> bool) -> Option<Action> {
        self.done.iter().find(|action| which(action)).cloned()
    }

    fn asked(&self) -> Token {
        let token = self.done.iter().find_map(|action| match action {
            Action::Own { token, .. } | Action::Settle { token, .. } => Some(*token),
            _ => None,
        });
        token.unwrap_or_else(|| panic!("nothing is to be committed: {:?}", self.done))
    }

    fn join(&mut self, consumer: ConsumerId, kind: SubscriptionKind, ranges: &[KeyRange]) {
        let (ranges, holds) = (ranges.to_vec(), Vec::new());
        let keep = std::mem::take(&mut self.done);
        self.tell(Event::Joined(Join { consumer, kind, priority: 0, ranges, holds, seek_epoch: 2 }));
        self.done.splice(0..0, keep);
    }

    fn ack(&mut self, consumer: ConsumerId, offset: u64, under: Epochs) {
        let about = vec![one(Place::main(Offset(offset)))];
        self.tell(Event::Ack(Said { consumer, request: 7, under, about }));
    }

    #[track_caller]
    fn refused(&self) -> Refusal {
        let refusals = self.done.iter().filter_map(|action| match action {
            Action::Refuse { refusal, .. } => Some(*refusal),
            _ => None,
        });
        let refusals: Vec<Refusal> = refusals.collect();
        assert_eq!(refusals.len(), 1, "{:?}", self.done);
        let settles = self.done.iter().any(|action| matches!(action, Action::Settle { .. }));
        assert!(!settles, "nothing comes of it: {:?}", self.done);
        refusals[0]
    }
}

#[test]
fn acks_of_what_is_not_held_are_refused() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let (offset, under) = (deliveries[0].place.offset, deliveries[0].under);
    stage.ack(ALICE, 4, under);
    assert_eq!(stage.refused(), Refusal::NotHeld { offset: Offset(4) });
    stage.ack(BOB, offset.0, under);
    assert_eq!(stage.refused(), Refusal::Foreign { offset });
    stage.ack(ConsumerId::from_u128(3), offset.0, under);
    assert_eq!(stage.refused(), Refusal::UnknownConsumer);
    stage.ack(ALICE, offset.0, under);
    stage.asked();
}

/// A message stands in one lane: named in the other one it is not held.
#[test]
fn what_is_named_in_the_wrong_lane_is_refused() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let (offset, under) = (deliveries[0].place.offset, deliveries[0].under);
    let wrong = Place { deliver_at: UnixMs(5), offset };
    let said = |about| Said { consumer: ALICE, request: 7, under, about };
    stage.tell(Event::Ack(Said { consumer: ALICE, request: 7, under, about: vec![one(wrong)] }));
    assert_eq!(stage.refused(), Refusal::NotHeld { offset });
    stage.tell(Event::Nack(said(vec![wrong])));
    assert_eq!(stage.refused(), Refusal::NotHeld { offset });
    stage.tell(Event::Extend(said(vec![wrong])));
    assert_eq!(stage.refused(), Refusal::NotHeld { offset });
}

#[test]
fn more_time_is_confirmed_at_once_and_only_where_it_was_given() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let [first, second] = [deliveries[0].place, deliveries[1].place];
    let under = deliveries[0].under;
    let confirmed = Action::Confirm { consumer: ALICE, request: 7 };
    let longer = |about| Event::Extend(Said { consumer: ALICE, request: 7, under, about });
    stage.tell(longer(vec![first, second]));
    assert!(stage.done.contains(&confirmed), "{:?}", stage.done);
    stage.ack(ALICE, first.offset.0, under);
    stage.tell(longer(vec![first]));
    assert_eq!(stage.refused(), Refusal::NotHeld { offset: first.offset });
    assert!(!stage.done.contains(&confirmed), "{:?}", stage.done);
}

/// A late ack of a delayed message that no dispatcher can have delivered.
#[test]
fn a_delayed_message_that_is_not_due_was_delivered_by_nobody() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let under = Epochs { dispatch: 4, ..deliveries[0].under };
    let early = Place { deliver_at: UnixMs(START), offset: Offset(5) };
    stage.tell(Event::Ack(Said { consumer: ALICE, request: 7, under, about: vec![one(early)] }));
    assert_eq!(stage.refused(), Refusal::NotDue { offset: Offset(5) });
}

/// The partition refuses what somebody who knows it would not say: the dispatcher goes, and a new one looks.
#[test]
fn a_dispatcher_that_is_contradicted_stops() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    stage.ack(ALICE, deliveries[0].place.offset.0, deliveries[0].under);
    let gone = CursorRefusal::Unknown;
    stage.tell(Event::CommitFailed(stage.asked(), gone.into()));
    assert_eq!(stage.done, [Action::Stop(Stopped::Refused(gone))]);
    stage.tell(Event::Tick);
    assert_eq!(stage.done, [], "and does nothing more");
}

/// Somebody else's dispatch says nothing about what is in flight here.
#[test]
fn a_dispatch_that_was_begun_for_another_subscription_answers_nothing() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    stage.ack(ALICE, deliveries[0].place.offset.0, deliveries[0].under);
    let token = stage.asked();
    let begun = |dispatch_epoch, token| {
        let rules = SubscriptionRules { lease_ms: LEASE_MS, ..SubscriptionRules::default() };
        let standing = Standing { rules, dispatch_epoch, seek_epoch: 2, ..Standing::default() };
        Event::Begun { token, standing: Box::new(standing) }
    };
    stage.tell(begun(9, None));
    assert_eq!((stage.dispatcher.epochs().dispatch, &stage.done[..]), (9, &[][..]), "it is still in flight");
    stage.tell(Event::CommitFailed(token, CursorError::Indeterminate("a test".into())));
    let Some(Action::Begin(asked)) = stage.first(|action| matches!(action, Action::Begin(_))) else {
        panic!("{:?}", stage.done)
    };
    stage.tell(begun(10, None));
    assert!(stage.first(|action| matches!(action, Action::Settle { .. })).is_none(), "not its own");
    stage.tell(begun(11, Some(asked)));
    assert!(
        stage.first(|action| matches!(action, Action::Settle { .. })).is_some(),
        "it looked, and repeats"
    );
}

#[test]
fn an_ack_after_the_lease_is_refused() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let (offset, under) = (deliveries[0].place.offset, deliveries[0].under);
    stage.now += LEASE_MS;
    stage.tell(Event::Tick);
    stage.ack(ALICE, offset.0, under);
    assert_eq!(stage.refused(), Refusal::LeaseEnded { offset });
}

#[test]
fn acks_under_other_epochs_are_refused() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Exclusive);
    let under = deliveries[0].under;
    assert_eq!(under, Epochs { dispatch: 5, owner: 1, seek: 2 });
    stage.ack(ALICE, 0, Epochs { dispatch: 6, ..under });
    assert_eq!(stage.refused(), Refusal::UnknownEpoch { got: 6, current: 5 });
    stage.ack(ALICE, 0, Epochs { owner: 0, ..under });
    assert_eq!(stage.refused(), Refusal::StaleOwner { got: 0, current: 1 });
    stage.ack(ALICE, 0, Epochs { seek: 1, ..under });
    assert_eq!(stage.refused(), Refusal::StaleSeek { got: 1, current: 2 });
}

#[test]
fn only_owners_ack_cumulatively_and_only_what_they_were_given() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    let about = |below: u64, under| {
        Event::AckCumulative(Said { consumer: ALICE, request: 7, under, about: Offset(below) })
    };
    stage.tell(about(1, deliveries[0].under));
    assert_eq!(stage.refused(), Refusal::CumulativeShared);
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Exclusive);
    stage.tell(about(4, deliveries[0].under));
    let settled = stage.first(|action| matches!(action, Action::Settle { .. }));
    let Some(Action::Settle { settlement, .. }) = settled else { panic!("{:?}", stage.done) };
    assert_eq!(settlement.acked, [OffsetRange::new(Offset(0), Offset(2))], "the two it has");
    let refusal =
        Action::Refuse { consumer: ALICE, request: Some(7), refusal: Refusal::NotHeld { offset: Offset(2) } };
    assert!(stage.done.contains(&refusal), "{:?}", stage.done);
}

#[test]
fn a_consumer_of_another_kind_or_too_many_are_not_let_in() {
    let (mut stage, _) = Stage::begun(SubscriptionKind::Exclusive);
    stage.done.clear();
    stage.join(BOB, SubscriptionKind::Shared, &[]);
    assert_eq!(stage.refused(), Refusal::OtherKind { is: SubscriptionKind::Exclusive });
    stage.done.clear();
    stage.join(BOB, SubscriptionKind::Exclusive, &[]);
    assert_eq!(stage.refused(), Refusal::OwnerPresent);
}

#[test]
fn key_ranges_belong_to_one_consumer() {
    let mut stage = Stage::new(SubscriptionKind::KeyShared);
    let range = |first, last| KeyRange { first, last };
    stage.join(ALICE, SubscriptionKind::KeyShared, &[range(0, 100)]);
    stage.done.clear();
    stage.join(BOB, SubscriptionKind::KeyShared, &[range(100, 200)]);
    assert_eq!(stage.refused(), Refusal::RangeTaken);
    stage.done.clear();
    stage.join(BOB, SubscriptionKind::KeyShared, &[]);
    assert_eq!(stage.refused(), Refusal::RangesMixed);
}

#[test]
fn credit_and_seeks_have_ends() {
    let (mut stage, _) = Stage::begun(SubscriptionKind::Shared);
    let DispatchBounds { credit_messages_max, credit_bytes_max, .. } = DispatchBounds::default();
    let overflow = Refusal::CreditOverflow { messages: credit_messages_max, bytes: credit_bytes_max };
    for (messages, bytes) in [(credit_messages_max + 1, 1), (1, credit_bytes_max + 1), (u64::MAX, u64::MAX)] {
        stage.tell(Event::Credit { consumer: BOB, messages, bytes });
        assert_eq!(stage.refused(), overflow);
    }
    stage.tell(Event::Seek { consumer: ALICE, request: 7, to: SeekTo::Offset(Offset(MESSAGES + 1)) });
    let (to, start, end) = (Offset(MESSAGES + 1), Offset(0), Offset(MESSAGES));
    assert_eq!(stage.refused(), Refusal::SeekOutside { to, start, end });
    let to = SeekTo::Offset(Offset(MESSAGES));
    stage.tell(Event::Seek { consumer: ALICE, request: 7, to });
    assert_eq!(stage.done.first(), Some(&Action::Seek { consumer: ALICE, request: 7, to }));
}

#[test]
fn a_drained_consumer_goes_when_it_holds_nothing_and_nothing_is_delivered_again() {
    let (mut stage, deliveries) = Stage::begun(SubscriptionKind::Shared);
    stage.tell(Event::Draining(ALICE));
    assert!(!stage.done.contains(&Action::DrainComplete(ALICE)), "it holds two");
    let about = deliveries.iter().map(|delivery| one(delivery.place)).collect();
    stage.tell(Event::Ack(Said { consumer: ALICE, request: 7, under: deliveries[0].under, about }));
    let token = stage.asked();
    assert!(!stage.done.contains(&Action::DrainComplete(ALICE)), "its acks are not durable");
    stage.tell(Event::Committed { token, stamp: UnixMs(START), outbox_room: 0 });
    let confirmed = Action::Confirm { consumer: ALICE, request: 7 };
    assert_eq!(stage.done[..2], [confirmed, Action::DrainComplete(ALICE)]);
}
