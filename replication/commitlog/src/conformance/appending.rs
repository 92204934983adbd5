//! Checks of [`Append`](crate::Append).

use std::convert::Infallible;

use futures::channel::oneshot;
use futures::future::join_all;
use meridian_model::limits::DEDUP_WINDOW_BATCHES;
use meridian_model::{BatchBuilder, Codec, Message, Offset, Refusal};

use super::{Subject, Writer};
use crate::AppendError;

/// LOG-1: offsets follow each other, and what is acked can be read, as it was sent.
pub(super) async fn what_is_acked_is_dense_and_readable(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "dense");
    let mut next = subject.bounds().end;
    for number in 0..5 {
        let (first, before) = (number * 3, subject.bounds());
        let base = writer.store(first, 3).await;
        assert_eq!(base, next, "offsets are dense");
        next = base.plus(3);
        let bounds = subject.bounds();
        assert_eq!((bounds.end, bounds.log), (next, before.log));
        assert_ne!(bounds.head, before.head, "the chain advances with what is stored");
        assert!(bounds.applied_index > before.applied_index && bounds.log_bytes > before.log_bytes);
        let stored = subject.batches_from(base, 1).await;
        assert_eq!(stored[0].bytes, *writer.batch(first, 3).bytes(), "stored verbatim");
    }
}

/// LOG-7: also when nobody waits between two of them.
pub(super) async fn appends_that_return_in_order_are_stored_in_order(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "in order");
    let mut tickets = Vec::new();
    for number in 0..DEDUP_WINDOW_BATCHES as u64 / 2 {
        tickets.push(writer.queue(number * 2, 2, Box::new(())).await);
    }
    let bases = join_all(tickets).await.into_iter().map(|appended| appended.expect("stored").base);
    let bases: Vec<Offset> = bases.collect();
    assert!(bases.windows(2).all(|pair| pair[1] == pair[0].plus(2)), "{bases:?}");
}

/// LOG-5: at the offset of the first time, as long as the window knows it.
pub(super) async fn a_resend_is_stored_once(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "resend");
    let mut bases = Vec::new();
    for number in 0..=DEDUP_WINDOW_BATCHES as u64 {
        bases.push(writer.store(number * 2, 2).await);
    }
    let before = subject.bounds();
    for (number, base) in (0u64..).zip(&bases).skip(1) {
        let again = writer.send(number * 2, 2).await.expect("known");
        assert_eq!((again.base, again.duplicate), (*base, true), "batch {number}");
    }
    assert_eq!(writer.refused(0, 2).await, Refusal::DuplicateBeyondWindow);
    let after = subject.bounds();
    assert_eq!((after.end, after.head), (before.end, before.head), "a duplicate takes no offset");
}

/// LOG-5: sequences have no holes, and a refused batch leaves no trace.
pub(super) async fn what_does_not_follow_is_refused_and_takes_no_offset(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "gaps");
    let before = subject.bounds();
    assert_eq!(writer.refused(1, 1).await, Refusal::UnknownProducer);
    assert_eq!(subject.bounds().end, before.end);
    let base = writer.store(0, 4).await;
    assert_eq!(writer.refused(5, 1).await, Refusal::SequenceGap { expected: 4, got: 5 });
    assert_eq!(writer.refused(2, 4).await, Refusal::PartialOverlap { expected: 4 });
    assert_eq!(writer.refused(0, 3).await, Refusal::PartialOverlap { expected: 4 });
    assert_eq!(writer.store(4, 1).await, base.plus(4), "the next one is still welcome");
}

/// LOG-6, for producers that made up their name.
pub(super) async fn a_newer_epoch_ends_an_older_one(subject: &Subject<'_>) {
    let old = Writer::new(subject, "epochs");
    let new = Writer { subject, producer: old.producer, epoch: 2 };
    old.store(0, 2).await;
    assert_eq!(new.refused(2, 1).await, Refusal::UnknownProducer, "an epoch begins at sequence 0");
    new.store(0, 1).await;
    for first in [0, 2] {
        assert_eq!(old.refused(first, 2).await, Refusal::StaleEpoch { current: 2, got: 1 });
    }
}

/// At least once, and no more is asked.
pub(super) async fn without_a_producer_every_send_is_stored(subject: &Subject<'_>) {
    let before = subject.bounds().end;
    for number in 0..2 {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&Message::new("nobody's"));
        let appended = subject.send(builder.build().expect("a batch")).await.expect("stored");
        assert_eq!((appended.base, appended.duplicate), (before.plus(number), false));
    }
}

pub(super) async fn a_dropped_ticket_takes_nothing_back(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "dropped");
    let (share, mut released) = oneshot::channel::<Infallible>();
    drop(writer.queue(0, 2, Box::new(share)).await);
    // Behind it in the same order: when this one is stored, so is the first.
    let base = writer.store(2, 1).await;
    let again = writer.send(0, 2).await.expect("known");
    assert!(again.duplicate && again.base.plus(2) <= base);
    assert!(matches!(released.try_recv(), Err(oneshot::Canceled)), "its share came back with the answer");
}

pub(super) async fn an_absent_group_is_not_led_here(subject: &Subject<'_>) {
    let batch = Writer::new(subject, "absent").batch(0, 1);
    let refused = subject.append.append(subject.absent, batch, subject.opened_at, Box::new(())).await.err();
    assert_eq!(refused, Some(AppendError::NotLeader { leader: None }));
}
