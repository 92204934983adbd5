//! The trace of a run: one hash over everything that can be seen happening, in the order in which it happened.
//!
//! Every record is (virtual time, place, kind, bytes). What is recorded: bytes read from and written to each
//! connection at both ends, every segment on its way (sent, held, dropped, delivered), engine writes with their
//! rows, crashes of disks, faults, lines of the history, and what the nodes and Raft say while they run, which
//! includes elections, ticks and timeouts. Two runs with one hash did the same things at the same times.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use parking_lot::Mutex;

thread_local! {
    static STEP_NS: Cell<u64> = const { Cell::new(0) };
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// Bytes were read from a connection.
    Read,
    /// Bytes were written to a connection.
    Write,
    /// A segment on the network, or a bind or a connection.
    Segment,
    /// The engine wrote, or lost what it had written.
    Engine,
    /// A node said something.
    Said,
    /// The history got a line.
    History,
    /// A fault was installed or healed.
    Fault,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Segment => "segment",
            Self::Engine => "engine",
            Self::Said => "said",
            Self::History => "history",
            Self::Fault => "fault",
        }
    }
}

struct State {
    hasher: blake3::Hasher,
    records: u64,
    file: Option<BufWriter<File>>,
}

/// The growing trace.
pub(crate) struct Trace {
    state: Mutex<State>,
}

impl Trace {
    /// An empty trace; with a path every record is also written there as a line.
    pub(crate) fn new(file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { state: Mutex::new(State { hasher: blake3::Hasher::new(), records: 0, file }) })
    }

    /// Appends a record.
    pub(crate) fn record(&self, event: Event, place: &str, bytes: &[u8]) {
        let now = now_ns();
        let mut state = self.state.lock();
        let mut head = [0_u8; 25];
        head[0] = event as u8;
        head[1..9].copy_from_slice(&now.to_le_bytes());
        head[9..17].copy_from_slice(&(place.len() as u64).to_le_bytes());
        head[17..25].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        state.hasher.update(&head).update(place.as_bytes()).update(bytes);
        state.records += 1;
        if state.file.is_some() {
            let line = line(event, now, place, bytes);
            // A trace file that cannot be written must not change the run.
            let _ = state.file.as_mut().map(|file| file.write_all(line.as_bytes()));
        }
    }

    /// The hash over all records, and how many there are.
    pub(crate) fn finish(&self) -> (String, u64) {
        let mut state = self.state.lock();
        let _ = state.file.as_mut().map(Write::flush);
        (state.hasher.finalize().to_hex()[..32].to_owned(), state.records)
    }
}

fn line(event: Event, now: u64, place: &str, bytes: &[u8]) -> String {
    let shown = match event {
        Event::Read | Event::Write => {
            format!("{} bytes {}", bytes.len(), &blake3::hash(bytes).to_hex()[..16])
        }
        _ => String::from_utf8_lossy(bytes).trim_end().replace('\n', "\\n"),
    };
    format!("{:>12.6} {place} {} {shown}\n", now as f64 / 1e9, event.name())
}

/// Sets the time at which the current step of the simulation began.
pub(crate) fn begin_step(elapsed_ns: u64) {
    STEP_NS.set(elapsed_ns);
    crate::interpose::advance_to(elapsed_ns);
}

/// Virtual nanoseconds since the beginning: of the host that runs, or else of the step.
pub(crate) fn now_ns() -> u64 {
    match turmoil::sim_elapsed() {
        Some(elapsed) => elapsed.as_nanos() as u64,
        None => STEP_NS.get(),
    }
}
