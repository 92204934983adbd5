//! Reading sessions over logs in memory: where they begin, what they tell of what is gone, how they end.

use std::sync::Arc;

use futures::executor::block_on;
use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{Append, ReadCommitted, ReadError};
use meridian_deliver::ReadSession;
use meridian_model::{BatchBuilder, Codec, GroupId, Message, Offset, Start, UnixMs};

const GROUP: GroupId = GroupId(3);
const ABSENT: GroupId = GroupId(4);
const NOW: UnixMs = UnixMs(1_000_000_000_000);
/// Messages in each batch.
const EACH: u64 = 4;

fn append(log: &MemoryLog, bytes: usize) {
    let mut builder = BatchBuilder::new(Codec::None);
    (0..EACH).for_each(|_| builder.push(&Message::new(vec![7; bytes])));
    let batch = builder.build().expect("a batch");
    block_on(async { log.append(GROUP, batch, NOW, Box::new(())).await?.await }).expect("stored");
}

/// Ten batches, one a second.
fn log() -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new(NOW));
    log.create(GROUP);
    for _ in 0..10 {
        append(&log, 16);
        log.pass(1_000);
    }
    log
}

fn open(log: &Arc<MemoryLog>, start: Start, clamp: bool) -> Result<ReadSession, ReadError> {
    block_on(ReadSession::open(Arc::clone(log) as Arc<dyn ReadCommitted>, GROUP, start, clamp))
}

#[test]
fn a_session_begins_where_it_is_told_to() {
    let log = log();
    log.trim(GROUP, Offset(8));
    let cases = [
        (Start::Earliest, 8),
        (Start::Latest, 40),
        (Start::Offset(Offset(8)), 8),
        (Start::Offset(Offset(13)), 13),
        (Start::Offset(Offset(40)), 40),
        (Start::Time(UnixMs(0)), 8),
        (Start::Time(NOW.plus_ms(5_000)), 20),
        (Start::Time(NOW.plus_ms(5_001)), 24),
        (Start::Time(NOW.plus_ms(60_000)), 40),
    ];
    for (start, expected) in cases {
        for clamp in [false, true] {
            assert_eq!(open(&log, start, clamp).expect("opens").place(), Offset(expected), "{start:?}");
        }
    }
}

/// LOG-8: below the start it is an error, or a reported skip for whoever asked for that.
#[test]
fn a_place_that_is_gone_is_an_error_or_a_reported_skip() {
    let log = log();
    log.trim(GROUP, Offset(8));
    let gone = |offset| ReadError::OutOfRange { offset: Offset(offset), start: Offset(8), end: Offset(40) };
    assert_eq!(open(&log, Start::Offset(Offset(3)), false).err(), Some(gone(3)));
    let mut session = open(&log, Start::Offset(Offset(3)), true).expect("opens");
    let page = block_on(session.page()).expect("a page");
    assert_eq!((page.skipped, page.next), (Some((Offset(3), Offset(8))), Offset(8)));
    assert!(page.batches.is_empty(), "a skip is told before what follows");
    let page = block_on(session.page()).expect("a page");
    assert_eq!((page.skipped, page.batches[0].base), (None, Offset(8)));
    for clamp in [false, true] {
        assert_eq!(open(&log, Start::Offset(Offset(41)), clamp).err(), Some(gone(41)), "beyond the end");
    }
}

/// LOG-8: in order, without hole or repeat, in pages that are bounded.
#[test]
fn pages_follow_each_other_and_are_bounded() {
    let log = Arc::new(MemoryLog::new(NOW));
    log.create(GROUP);
    for _ in 0..12 {
        append(&log, 40 * 1024);
    }
    let mut session = open(&log, Start::Offset(Offset(2)), false).expect("opens");
    let (mut next, mut pages) = (Offset(0), 0);
    loop {
        let page = block_on(session.page()).expect("a page");
        if page.batches.is_empty() {
            break;
        }
        let bytes: usize = page.batches.iter().map(|batch| batch.bytes.len()).sum();
        assert!(bytes <= 512 * 1024, "{bytes}");
        for batch in &page.batches {
            assert_eq!(batch.base, next, "the batch that holds offset 2, then every one");
            next = batch.base.plus(u64::from(batch.count));
        }
        assert_eq!((page.next, session.place()), (next, next));
        assert_eq!(page.bounds.end, Offset(12 * EACH));
        pages += 1;
    }
    assert_eq!(next, Offset(12 * EACH));
    assert!(pages > 1);
    println!("{} messages in {pages} pages", next.0);
}

/// LOG-8, LOG-9.
#[test]
fn retention_that_overtakes_a_session_is_reported_once() {
    let log = log();
    let mut session = open(&log, Start::Earliest, false).expect("opens");
    log.trim(GROUP, Offset(20));
    let page = block_on(session.page()).expect("no error, although clamping was not asked for");
    assert_eq!(page.skipped, Some((Offset(0), Offset(20))));
    let page = block_on(session.page()).expect("a page");
    assert_eq!((page.skipped, page.batches[0].base, page.next), (None, Offset(20), Offset(40)));
    log.trim(GROUP, Offset(40));
    append(&log, 16);
    let page = block_on(session.page()).expect("a page");
    assert_eq!((page.skipped, page.batches.len()), (None, 1), "what was read is not missed");
}

#[test]
fn a_session_at_the_end_waits_for_what_comes() {
    let log = log();
    let mut session = open(&log, Start::Latest, false).expect("opens");
    assert!(block_on(session.page()).expect("a page").batches.is_empty());
    std::thread::scope(|scope| {
        let session = &session;
        let waiting = scope.spawn(move || block_on(session.wait()));
        append(&log, 16);
        waiting.join().expect("no panic").expect("something came");
    });
    let page = block_on(session.page()).expect("a page");
    assert_eq!((page.batches[0].base, page.next), (Offset(40), Offset(44)));
}

#[test]
fn a_replica_that_is_not_here_cannot_be_read() {
    let log = log() as Arc<dyn ReadCommitted>;
    let opened = block_on(ReadSession::open(log, ABSENT, Start::Earliest, true));
    assert!(matches!(opened.err(), Some(ReadError::Unavailable(_))));
}
