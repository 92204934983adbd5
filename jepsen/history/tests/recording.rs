//! The recorder under many clients: numbers are unique, nothing is lost, what nobody ends is `info`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use meridian_history::*;

fn ticking() -> impl Clock {
    let ticks = Arc::new(AtomicU64::new(0));
    move || ticks.fetch_add(1, Ordering::SeqCst)
}

fn end_offset() -> EndOffset {
    EndOffset { topic: "t".into(), partition: 0, end: None }
}

#[test]
fn completions_carry_their_answers() {
    let memory = Memory::default();
    let recorder = Recorder::new(memory.clone(), &Header::default(), ticking()).unwrap();
    recorder.invoke(1, end_offset()).ok(7);
    recorder.invoke(1, end_offset()).fail("throttled");
    recorder.invoke(1, end_offset()).info("deadline");
    recorder.invoke(1, end_offset()).partial(3, "broken off");
    drop(recorder.invoke(1, end_offset()));
    let open = recorder.invoke(2, end_offset());
    assert_eq!(recorder.finish().unwrap(), 6);
    open.ok(9);

    let history = memory.history().unwrap();
    assert!(history.complete);
    let told: Vec<_> = history
        .ops
        .iter()
        .map(|op| {
            let Kind::EndOffset(call) = &op.kind else { panic!("{op:?}") };
            (op.outcome, call.end, op.complete_ns.is_some(), op.why.is_some())
        })
        .collect();
    let expected = [
        (Outcome::Ok, Some(7), true, false),
        (Outcome::Fail, None, true, true),
        (Outcome::Info, None, true, true),
        (Outcome::Info, Some(3), true, true),
        (Outcome::Info, None, false, false),
        (Outcome::Info, None, false, false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn many_threads_share_one_history() {
    let memory = Memory::default();
    let recorder = Recorder::new(memory.clone(), &Header::default(), MonotonicClock::start()).unwrap();
    thread::scope(|scope| {
        for process in 0..8 {
            let recorder = recorder.clone();
            scope.spawn(move || (0..100).for_each(|n| recorder.invoke(process, end_offset()).ok(n)));
        }
    });
    assert_eq!(recorder.finish().unwrap(), 800);
    let history = memory.history().unwrap();
    let ids: BTreeSet<_> = history.ops.iter().map(|op| op.id).collect();
    assert_eq!(ids, (0..800).collect());
    assert!(history.ops.iter().all(|op| op.complete_ns.is_some_and(|end| end >= op.invoke_ns)));
}

#[test]
fn a_failed_write_is_reported_at_the_end() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("disk full"))?;
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recorder = Recorder::new(Full(1), &Header::default(), ticking()).unwrap();
    recorder.invoke(1, end_offset()).ok(7);
    assert!(recorder.finish().unwrap_err().to_string().contains("disk full"));
    assert!(matches!(recorder.finish(), Err(RecordError::Finished)));
}
