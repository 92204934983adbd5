//! The send queue, step by step.

use std::time::Duration;

use bytes::Bytes;
use meridian_model::{Batch, BatchBuilder, Codec, Message, ProducerId};
use meridian_proto::v1::{ErrorReason, Failure};
use tokio::time::Instant;

use super::identity::Identity;
use super::queue::{Copy, SendQueue};
use super::verdict::{Trouble, Verdict};
use crate::Error;

const OLD: Identity =
    Identity { producer: ProducerId::from_u128(1), epoch: 0, opened_at_ms: 5, named: false };
const NEW: Identity =
    Identity { producer: ProducerId::from_u128(2), epoch: 0, opened_at_ms: 6, named: false };

/// A queue of batches with two messages each; who waits is the batch's number.
fn queue_of(batches: u64) -> SendQueue<u64> {
    let mut queue = SendQueue::new();
    for number in 0..batches {
        let mut builder =
            BatchBuilder::new(Codec::None).producer(OLD.producer, OLD.epoch, queue.next_sequence());
        builder.push(&Message::new(format!("{number}a")));
        builder.push(&Message::new(format!("{number}b")));
        let batch = builder.build().expect("a batch").into_bytes();
        queue.push(batch, 2, number * 2, Instant::now() + Duration::from_secs(60), number);
    }
    queue
}

fn send_all(queue: &mut SendQueue<u64>) -> Vec<Copy> {
    std::iter::from_fn(|| queue.next_copy(Instant::now())).collect()
}

fn refused(reason: ErrorReason) -> Trouble {
    Trouble::refused(Failure::new(reason, "scripted"))
}

fn fail(queue: &mut SendQueue<u64>, copy: &Copy, reason: ErrorReason) {
    queue.failed(copy.ticket, copy.attempt, refused(reason));
}

fn sequence(batch: &Bytes) -> (ProducerId, u64) {
    let batch = Batch::verify(batch.clone()).expect("verifies");
    (batch.header().producer, batch.header().first_sequence)
}

#[tokio::test]
async fn after_trouble_everything_is_resent_unchanged_from_the_oldest() {
    let mut queue = queue_of(3);
    let first = send_all(&mut queue);
    fail(&mut queue, &first[0], ErrorReason::Throttled);
    assert!(queue.settle().is_none(), "two copies are still out");
    fail(&mut queue, &first[1], ErrorReason::SequenceGap);
    fail(&mut queue, &first[2], ErrorReason::SequenceGap);
    assert!(matches!(queue.settle(), Some((Verdict::Again { .. }, Some(_)))));
    let second = send_all(&mut queue);
    let same = first.iter().zip(&second).all(|(a, b)| a.batch == b.batch && a.ticket == b.ticket);
    assert!(same && second.len() == 3);
    fail(&mut queue, &first[0], ErrorReason::CorruptBatch);
    assert_eq!(queue.in_flight(), 3, "a late answer to an old copy changes nothing");
    assert_eq!(
        queue.acked(first[0].ticket).map(|outgoing| outgoing.waiters),
        Some(0),
        "but a late ack counts"
    );
}

#[tokio::test]
async fn a_gap_behind_an_unanswered_batch_is_no_refusal_but_at_the_head_it_is_one_in_the_end() {
    let mut queue = queue_of(2);
    let copies = send_all(&mut queue);
    fail(&mut queue, &copies[1], ErrorReason::SequenceGap);
    queue.acked(copies[0].ticket).expect("acked");
    assert!(matches!(queue.settle(), Some((Verdict::Again { soft: false, .. }, _))));
    let mut softly = 0;
    loop {
        let copy = queue.next_copy(Instant::now()).expect("resent");
        fail(&mut queue, &copy, ErrorReason::SequenceGap);
        match queue.settle() {
            Some((Verdict::Again { soft: true, .. }, _)) => softly += 1,
            Some((Verdict::Refused(_), _)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(softly, 5);
}

#[tokio::test]
async fn behind_a_batch_that_is_certainly_not_stored_all_are_renumbered() {
    let mut queue = queue_of(3);
    let copies = send_all(&mut queue);
    fail(&mut queue, &copies[0], ErrorReason::CorruptBatch);
    // Unknown by its own answer, but it cannot be stored without the one before it.
    fail(&mut queue, &copies[1], ErrorReason::Indeterminate);
    fail(&mut queue, &copies[2], ErrorReason::SequenceGap);
    let Some((Verdict::Refused(error), _)) = queue.settle() else { panic!("a refusal") };
    let ended = queue.break_off(Some(error));
    assert!(matches!(ended.as_slice(), [(0, Error::Refused(_))]), "{ended:?}");
    queue.renumber(NEW).expect("renumbered");
    let again = send_all(&mut queue);
    let numbers: Vec<_> = again.iter().map(|copy| sequence(&copy.batch)).collect();
    assert_eq!(numbers, [(NEW.producer, 0), (NEW.producer, 2)]);
    assert!(queue.acked(copies[1].ticket).is_none(), "answers to the old numbering match nothing");
}

#[tokio::test]
async fn behind_a_batch_that_may_be_stored_only_what_was_never_in_doubt_is_renumbered() {
    let mut queue = queue_of(3);
    let copies = send_all(&mut queue);
    fail(&mut queue, &copies[0], ErrorReason::Indeterminate);
    fail(&mut queue, &copies[1], ErrorReason::Unavailable);
    fail(&mut queue, &copies[2], ErrorReason::Throttled);
    queue.settle().expect("settled");
    let ended = queue.break_off(Some(refused(ErrorReason::TopicSealed).error().clone()));
    let unknown: Vec<u64> = ended
        .iter()
        .map(|(who, error)| {
            assert!(matches!(error, Error::Indeterminate { .. }), "{error:?}");
            *who
        })
        .collect();
    assert_eq!(unknown, [0, 1]);
    queue.renumber(NEW).expect("renumbered");
    assert_eq!(send_all(&mut queue).len(), 1);
}

#[tokio::test]
async fn an_unknown_producer_proves_that_nothing_is_stored() {
    let mut queue = queue_of(2);
    let copies = send_all(&mut queue);
    queue.lost(&Error::Closed);
    queue.settle().expect("settled");
    let again = send_all(&mut queue);
    assert_eq!(copies[0].batch, again[0].batch);
    fail(&mut queue, &again[0], ErrorReason::UnknownProducer);
    fail(&mut queue, &again[1], ErrorReason::UnknownProducer);
    assert!(matches!(queue.settle(), Some((Verdict::Renew, _))));
    queue.nothing_is_stored();
    queue.renumber(NEW).expect("renumbered");
    assert_eq!(send_all(&mut queue).len(), 2);
}

#[tokio::test]
async fn what_is_lost_may_be_stored_and_what_never_left_is_not() {
    let mut queue = queue_of(2);
    let copies = send_all(&mut queue);
    queue.failed(copies[0].ticket, copies[0].attempt, Trouble::unsent());
    queue.failed(copies[1].ticket, copies[1].attempt, Trouble::lost(Failure::default()));
    queue.settle().expect("settled");
    let ended = queue.abandon(&Error::Closed);
    assert!(matches!(ended.as_slice(), [(0, Error::Closed), (1, Error::Indeterminate { .. })]), "{ended:?}");
    assert!(queue.is_empty());
}
