//! What a consumer says and hears, step by step.

use futures::FutureExt;
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::*;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Ledger;
use crate::Error;
use crate::consumer::claims::Verb;
use crate::consumer::credit::Amount;
use crate::consumer::delivery::Delivery;
use crate::consumer::hold::Revoked;

const WALL_MS: u64 = 1_000_000;

fn range(from: u64, to: u64) -> DeliveredRange {
    DeliveredRange { from, to, deliver_at_ms: 0 }
}

struct Desk {
    ledger: Ledger,
    ready: mpsc::UnboundedReceiver<Result<Delivery, Error>>,
    now: Instant,
}

impl Desk {
    fn new(extends: bool) -> Self {
        let (now, (out, ready)) = (Instant::now(), mpsc::unbounded_channel());
        let room = Amount { messages: 100, bytes: 100_000 };
        let mut ledger = Ledger::new(out, room, 1_000, extends, now);
        ledger.begin(now);
        let mut desk = Self { ledger, ready, now };
        desk.name(1, 0, SourceState::Attached);
        desk
    }

    fn hear(&mut self, response: Response) {
        self.ledger.hear(response, self.now, WALL_MS).expect("makes sense");
    }

    fn name(&mut self, source: u32, partition: u32, state: SourceState) {
        let (topic, log_id) = ("t".into(), vec![partition as u8 + 1; 16].into());
        let source = SubscribeSource { source, topic, partition, state: state.into(), log_id, failure: None };
        self.hear(Response::Source(source));
    }

    fn come(&mut self, source: u32, offsets: std::ops::Range<u64>) -> Vec<Delivery> {
        let messages = offsets.map(|offset| DeliveredMessage {
            message: Some(StoredMessage { offset, body: "body".into(), ..Default::default() }),
            attempt: 1,
            lease_until_ms: WALL_MS + 20_000,
            deliver_at_ms: 0,
        });
        let epochs = Some(DeliveryEpochs { dispatch: 5, owner: 0, seek: 1 });
        self.hear(Response::Messages(DeliveredMessages {
            source,
            epochs,
            messages: messages.collect(),
            credit_bytes: 40,
        }));
        let mut came = Vec::new();
        while let Ok(delivery) = self.ready.try_recv() {
            let delivery = delivery.expect("a message");
            assert!(self.ledger.take(&delivery));
            came.push(delivery);
        }
        came
    }

    fn next(&mut self) -> Option<Request> {
        self.ledger.next_request(self.now)
    }

    fn next_ack(&mut self) -> (u64, Vec<(u64, u64)>) {
        match self.next() {
            Some(Request::Ack(ack)) => {
                assert_eq!(ack.epochs, Some(DeliveryEpochs { dispatch: 5, owner: 0, seek: 1 }));
                (ack.request, ack.ranges.iter().map(|range| (range.from, range.to)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn confirm(&mut self, request: u64) {
        self.hear(Response::Confirmed(SubscribeConfirmed { requests: vec![request] }));
    }

    fn refuse(&mut self, request: u64, reason: ErrorReason) {
        let failure = Some(Failure::new(reason, "no"));
        self.hear(Response::Refused(SubscribeRefused { request, failure }));
    }
}

#[tokio::test]
async fn acks_said_together_are_one_request_and_resolve_when_it_is_confirmed() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..6);
    let first = desk.ledger.say(Verb::Ack, &came[2].hold);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(2, 3)]);
    let rest = [5, 3, 4, 0].map(|at: usize| desk.ledger.say(Verb::Ack, &came[at].hold));
    assert!(desk.next().is_none(), "one at a time");
    assert!(first.now_or_never().is_none());
    desk.confirm(request);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(0, 1), (3, 6)]);
    desk.confirm(request);
    for settling in rest {
        settling.now_or_never().expect("known").expect("durable");
    }
    assert_eq!((came[5].revoked(), came[1].is_revoked()), (Some(Revoked::Settled), false));
    let again = desk.ledger.say(Verb::Ack, &came[5].hold).now_or_never().expect("known at once");
    assert_eq!(again.expect_err("settled").refusal(), Some(ErrorReason::NotHeld));
}

#[tokio::test]
async fn one_message_that_is_lost_does_not_spoil_the_acks_of_others() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..4);
    let settling: Vec<_> = came.iter().map(|one| desk.ledger.say(Verb::Ack, &one.hold)).collect();
    let (mut refused, mut confirmed) = (0, 0);
    while let Some(Request::Ack(ack)) = desk.next() {
        match ack.ranges.iter().any(|range| (range.from..range.to).contains(&2)) {
            true => desk.refuse(ack.request, ErrorReason::LeaseEnded),
            false => desk.confirm(ack.request),
        }
        match ack.ranges.iter().any(|range| (range.from..range.to).contains(&2)) {
            true => refused += 1,
            false => confirmed += 1,
        }
    }
    assert_eq!((refused, confirmed), (3, 2));
    let outcomes = settling.into_iter().map(|one| one.now_or_never().expect("known").is_ok());
    assert_eq!(outcomes.collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(came[2].revoked(), Some(Revoked::LeaseEnded));
}

#[tokio::test]
async fn what_is_refused_for_now_is_said_again_later() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..2);
    let settling = desk.ledger.ack_up_to(&came[1].hold);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(0, 2)]);
    desk.refuse(request, ErrorReason::Unavailable);
    assert!(desk.next().is_none());
    desk.now = desk.ledger.next_due(desk.now);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(0, 2)]);
    desk.confirm(request);
    settling.now_or_never().expect("known").expect("durable");
}

#[tokio::test]
async fn after_a_break_acks_are_said_again_and_refusals_are_not() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..5);
    let ack = desk.ledger.say(Verb::Ack, &came[1].hold);
    let nack = desk.ledger.say(Verb::Nack, &came[2].hold);
    let (_, nacked) = (desk.next_ack(), desk.next());
    assert!(matches!(nacked, Some(Request::Nack(nack)) if nack.ranges == [range(2, 3)]));
    desk.ledger.broken();
    let doubt = nack.now_or_never().expect("known").expect_err("in doubt");
    assert!(matches!(doubt, Error::Indeterminate { .. }));
    let (holds, credit) = desk.ledger.begin(Instant::now());
    let ranges: Vec<_> = holds[0].ranges.iter().map(|range| (range.from, range.to)).collect();
    assert_eq!((ranges, holds[0].seek_epoch, credit.messages), (vec![(0, 2), (3, 5)], 1, 100));
    assert!(desk.next().is_none(), "the partition is not attached yet");
    desk.name(8, 0, SourceState::Attached);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(1, 2)]);
    desk.confirm(request);
    ack.now_or_never().expect("known").expect("durable");
    desk.hear(Response::Revoked(SubscribeRevoked {
        source: 8,
        ranges: vec![range(3, 4)],
        reason: RevokeReason::NotKept.into(),
    }));
    assert_eq!(came[3].revoked(), Some(Revoked::NotKept));
}

#[tokio::test]
async fn a_partition_that_is_away_holds_back_only_its_own_acks() {
    let mut desk = Desk::new(false);
    desk.name(2, 1, SourceState::Attached);
    let (here, there) = (desk.come(1, 0..1), desk.come(2, 7..8));
    let first = desk.ledger.say(Verb::Ack, &here[0].hold);
    let (lost, _) = desk.next_ack();
    desk.name(1, 0, SourceState::Detached);
    let other = desk.ledger.say(Verb::Ack, &there[0].hold);
    let (request, ranges) = desk.next_ack();
    assert_eq!(ranges, [(7, 8)]);
    desk.confirm(request);
    other.now_or_never().expect("known").expect("durable");
    desk.confirm(lost);
    assert!(first.now_or_never().is_none(), "an answer to what was given up is no answer");
    desk.name(1, 0, SourceState::Attached);
    assert_eq!(desk.next_ack().1, [(0, 1)]);
}

#[tokio::test]
async fn a_partition_that_ends_says_why_and_refuses_what_is_said_about_it() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..2);
    let settling = desk.ledger.say(Verb::Ack, &came[0].hold);
    let failure = Some(Failure::new(ErrorReason::NotFound, "the topic is gone"));
    let (topic, log_id, state) = ("t".into(), vec![1; 16].into(), SourceState::Ended.into());
    desk.hear(Response::Source(SubscribeSource { source: 1, topic, partition: 0, state, log_id, failure }));
    let error = settling.now_or_never().expect("known").expect_err("gone");
    assert_eq!(error.refusal(), Some(ErrorReason::NotFound));
    assert!(came[1].is_revoked());
    assert!(matches!(desk.ready.try_recv(), Ok(Err(_))), "the application is told");
}

#[tokio::test]
async fn messages_that_are_lost_while_they_wait_are_not_seen_and_give_their_credit_back() {
    let mut desk = Desk::new(false);
    let epochs = Some(DeliveryEpochs::default());
    let messages = (0..100).map(|offset| DeliveredMessage {
        message: Some(StoredMessage { offset, ..Default::default() }),
        ..Default::default()
    });
    desk.hear(Response::Messages(DeliveredMessages {
        source: 1,
        epochs,
        messages: messages.collect(),
        credit_bytes: 101,
    }));
    assert!(desk.next().is_none());
    let (ranges, reason) = (vec![range(0, 60)], RevokeReason::Sought.into());
    desk.hear(Response::Revoked(SubscribeRevoked { source: 1, ranges, reason }));
    let mut seen = 0;
    while let Ok(delivery) = desk.ready.try_recv() {
        seen += u32::from(desk.ledger.take(&delivery.expect("a message")));
    }
    assert_eq!(seen, 40);
    assert!(matches!(desk.next(), Some(Request::Credit(more)) if (more.messages, more.bytes) == (100, 101)));
}

#[tokio::test]
async fn leases_are_extended_at_half_their_time_while_messages_are_held() {
    let mut desk = Desk::new(true);
    let came = desk.come(1, 0..3);
    let ack = desk.ledger.say(Verb::Ack, &came[1].hold);
    let (request, _) = desk.next_ack();
    desk.confirm(request);
    ack.now_or_never().expect("known").expect("durable");
    let due = desk.ledger.held.next_extension().expect("held");
    assert_eq!((due - desk.now).as_secs(), 10);
    desk.now = due;
    let extended = std::iter::from_fn(|| desk.next()).find_map(|request| match request {
        Request::Extend(extend) => Some(extend.ranges),
        _ => None,
    });
    assert_eq!(extended, Some(vec![range(0, 1), range(2, 3)]));
}

#[tokio::test]
async fn silence_is_broken_in_time_and_noticed() {
    let mut desk = Desk::new(false);
    let opened = SubscribeOpened { consumer_id: vec![1; 16].into(), silence_ms_max: 9_000 };
    desk.hear(Response::Opened(opened));
    assert!(desk.next().is_none());
    let begun = desk.now;
    let due = desk.ledger.next_due(begun);
    assert_eq!((due - begun).as_secs(), 3);
    desk.now = due;
    assert!(matches!(desk.next(), Some(Request::Heartbeat(_))));
    assert!(desk.next().is_none());
    assert_eq!((desk.ledger.silent_at() - begun).as_secs(), 9);
}

#[tokio::test]
async fn a_drain_asks_for_nothing_more_and_ends_when_the_node_says_so() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..2);
    let drained = desk.ledger.drain();
    assert!(matches!(desk.next(), Some(Request::Drain(_))));
    assert!(desk.next().is_none());
    let acked = desk.ledger.ack_up_to(&came[1].hold);
    let (request, _) = desk.next_ack();
    desk.ledger.broken();
    let (_, credit) = desk.ledger.begin(Instant::now());
    assert_eq!(credit.messages, 0, "it does not ask for more on another stream either");
    assert!(matches!(desk.next(), Some(Request::Drain(_))), "which is told anew");
    desk.name(4, 0, SourceState::Attached);
    let (again, _) = desk.next_ack();
    assert!(again > request);
    desk.confirm(again);
    acked.now_or_never().expect("known").expect("durable");
    desk.hear(Response::Drained(SubscribeDrained {}));
    drained.now_or_never().expect("known").expect("nothing is held");
    assert!(desk.ledger.is_drained());
}

#[tokio::test]
async fn what_waits_when_all_is_over_is_in_doubt_and_nothing_more_can_be_said() {
    let mut desk = Desk::new(false);
    let came = desk.come(1, 0..2);
    let (said, waiting) =
        (desk.ledger.say(Verb::Ack, &came[0].hold), desk.ledger.seek(None, SubscriptionStart::default()));
    desk.next_ack();
    desk.ledger.end(Some(Error::nonsense("it was enough")));
    for settling in [said, waiting] {
        let outcome = settling.now_or_never().expect("known");
        assert!(matches!(outcome, Err(Error::Indeterminate { .. })));
    }
    assert!(matches!(desk.ready.try_recv(), Ok(Err(Error::Refused(_)))));
    let late = desk.ledger.say(Verb::Ack, &came[1].hold).now_or_never().expect("known at once");
    assert!(matches!(late, Err(Error::Refused(_))));
}

#[tokio::test]
async fn nonsense_is_noticed() {
    let mut desk = Desk::new(false);
    let lag = SubscribeLag { source: 99, backlog_messages: 1 };
    assert!(desk.ledger.hear(Response::Lag(lag), Instant::now(), WALL_MS).is_err());
    let messages = (0..66_000).map(|offset| DeliveredMessage {
        message: Some(StoredMessage { offset, ..Default::default() }),
        ..Default::default()
    });
    let flood = DeliveredMessages { source: 1, epochs: None, messages: messages.collect(), credit_bytes: 0 };
    assert!(desk.ledger.hear(Response::Messages(flood), Instant::now(), WALL_MS).is_err());
}
