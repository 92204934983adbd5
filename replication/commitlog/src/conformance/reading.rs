//! Checks of [`ReadCommitted`](crate::ReadCommitted).

use meridian_model::{Offset, UnixMs};

use super::{Subject, Writer, end_of};
use crate::ReadError;

pub(super) async fn a_read_begins_with_the_batch_that_holds_the_offset(subject: &Subject<'_>) {
    let base = Writer::new(subject, "holds").store(0, 5).await;
    for inside in 0..5 {
        let read = subject.batches_from(base.plus(inside), 1).await;
        assert_eq!((read[0].base, read[0].count), (base, 5), "{inside} messages in");
    }
    assert!(subject.batches_from(base.plus(5), 1).await.is_empty(), "nothing at the end, and no error");
}

pub(super) async fn a_read_is_bounded_but_never_starves(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "bounded");
    let base = writer.store(0, 1).await;
    for number in 1..8 {
        writer.store(number, 1).await;
    }
    let each = subject.batches_from(base, 1).await;
    assert_eq!(each.len(), 1, "one, although it is larger than asked");
    let three = 3 * each[0].bytes.len();
    assert_eq!(subject.batches_from(base, three).await.len(), 3);
    assert_eq!(subject.batches_from(base, 1 << 20).await.len(), 8);
}

/// LOG-8.
pub(super) async fn pages_cover_the_log_once_in_order(subject: &Subject<'_>) {
    let (bounds, mut next, mut bytes) = (subject.bounds(), subject.bounds().start, 0);
    for batch in subject.everything().await {
        assert_eq!(batch.base, next, "no hole and no repeat");
        next = end_of(&batch);
        bytes += batch.bytes.len() as u64;
    }
    assert_eq!((next, bytes), (bounds.end, bounds.log_bytes));
}

pub(super) async fn beyond_the_end_is_out_of_range(subject: &Subject<'_>) {
    let (start, end) = (subject.bounds().start, subject.bounds().end);
    let offset = end.plus(1);
    let read = subject.read.read(subject.group, offset, 1).await;
    assert_eq!(read, Err(ReadError::OutOfRange { offset, start, end }));
    if start > Offset(0) {
        let read = subject.read.read(subject.group, Offset(0), 1).await;
        assert_eq!(read, Err(ReadError::OutOfRange { offset: Offset(0), start, end }));
    }
}

pub(super) async fn a_time_finds_the_first_batch_appended_then(subject: &Subject<'_>) {
    let (batches, bounds) = (subject.everything().await, subject.bounds());
    let stamps: Vec<UnixMs> = batches.iter().map(|batch| batch.appended_at).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] <= pair[1]), "append times never go back");
    let mut times = vec![UnixMs(0), UnixMs(u64::MAX)];
    times.extend(stamps.iter().flat_map(|stamp| [*stamp, stamp.plus_ms(1)]));
    times.dedup();
    for time in times {
        let expected = batches.iter().find(|batch| batch.appended_at >= time);
        let expected = expected.map_or(bounds.end, |batch| batch.base);
        let found = subject.read.offset_at(subject.group, time).await.expect("finds");
        assert_eq!(found, expected, "at {time}");
    }
}

pub(super) async fn waiting_ends_with_the_next_message(subject: &Subject<'_>) {
    let writer = Writer::new(subject, "waiting");
    let end = subject.bounds().end;
    let waiting = subject.read.wait_beyond(subject.group, end);
    let (waited, base) = futures::future::join(waiting, writer.store(0, 1)).await;
    assert_eq!((waited, base), (Ok(()), end));
    let there = subject.read.wait_beyond(subject.group, end).await;
    assert_eq!(there, Ok(()), "what is there already is not waited for");
    assert_eq!(subject.bounds().end, end.plus(1));
}

pub(super) async fn an_absent_group_is_unavailable(subject: &Subject<'_>) {
    let absent = subject.absent;
    let unavailable = |error: Option<ReadError>| matches!(error, Some(ReadError::Unavailable(_)));
    assert!(unavailable(subject.read.bounds(absent).err()));
    assert!(unavailable(subject.read.read(absent, Offset(0), 1).await.err()));
    assert!(unavailable(subject.read.offset_at(absent, UnixMs(0)).await.err()));
    assert!(unavailable(subject.read.wait_beyond(absent, Offset(0)).await.err()));
}
