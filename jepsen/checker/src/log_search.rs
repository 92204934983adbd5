//! LOG once more, by search: an append-only log explains every answer in some order that respects real time.
//!
//! The second opinion on LOG-3 to LOG-7. It takes nothing from the checks by sorting: it knows acks, reads
//! and ends only as steps of a model. Partitions too large to search whole are searched window by window
//! (`log_windows.rs`); those with at-least-once producers, whose retries may be stored twice, are left to the
//! other checks and counted as such.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use meridian_history::{MessageId, Op, Outcome, Seen};
use porcupine_rs::{Model, Operation};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    log_windows,
    options::Options,
    partition_view::PartitionView,
    search::{Budget, Searched, moment},
};

/// Messages above which a partition is not searched whole: a state costs as much as its longest look-up.
const MESSAGES_MAX: usize = 2_000;

/// The newest message of a log and, behind it, all others; logs that share a past share its memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    tip: Option<Arc<Entry>>,
    digest: u64,
}

#[derive(Debug)]
struct Entry {
    offset: u64,
    message: u32,
    before: Option<Arc<Entry>>,
}

impl Log {
    fn end(&self) -> u64 {
        self.tip.as_ref().map_or(0, |tip| tip.offset + 1)
    }

    fn append(&self, messages: &[u32]) -> Self {
        messages.iter().fold(self.clone(), |log, &message| {
            let digest =
                (log.digest ^ u64::from(message)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            let entry = Entry { offset: log.end(), message, before: log.tip };
            Self { tip: Some(Arc::new(entry)), digest }
        })
    }

    /// From the newest to the oldest.
    fn backwards(&self) -> impl Iterator<Item = &Entry> {
        std::iter::successors(self.tip.as_deref(), |entry| entry.before.as_deref())
    }

    fn offset_of(&self, message: u32) -> Option<u64> {
        self.backwards().find(|entry| entry.message == message).map(|entry| entry.offset)
    }

    /// Whether all of these are there; offsets fall.
    fn shows(&self, falling: &[(u64, u32)]) -> bool {
        let mut entries = self.backwards();
        falling.iter().all(|&(offset, message)| {
            entries
                .find(|entry| entry.offset <= offset)
                .is_some_and(|entry| entry.offset == offset && entry.message == message)
        })
    }
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Entry, b: &Entry| a.message == b.message;
        self.digest == other.digest
            && self.end() == other.end()
            && self.backwards().zip(other.backwards()).all(|(a, b)| std::ptr::eq(a, b) || same(a, b))
    }
}

impl Eq for Log {}

impl Hash for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.digest, self.end()).hash(state);
    }
}

/// One operation on the log.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Acked as stored anew from this offset on.
    Stored { first: u64, messages: Vec<u32> },
    /// Acked as stored before, perhaps without saying where. The attempt before may have been this operation's own:
    /// who forwards or sends for a client may send twice.
    Known { first: Option<u64>, messages: Vec<u32> },
    /// Of unknown outcome; one that never took effect is one that does after everything else.
    Perhaps { messages: Vec<u32> },
    /// Of unknown outcome, but somebody saw that it is there from this offset on.
    PerhapsAt { first: u64, messages: Vec<u32> },
    /// Messages were read, here with falling offsets. A reader may lag, so it proves no end.
    Seen { falling: Vec<(u64, u32)> },
    /// This was the end.
    End(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Append;

impl Model for Append {
    type State = Log;
    type Op = Step;
    type Metadata = ();

    fn init() -> Log {
        Log::default()
    }

    fn step(log: &Log, step: &Step) -> (bool, Log) {
        let is_new = |messages: &[u32]| messages.iter().all(|&message| log.offset_of(message).is_none());
        match step {
            Step::Stored { first, messages } if *first == log.end() && is_new(messages) => {
                (true, log.append(messages))
            }
            Step::Stored { .. } => (false, log.clone()),
            Step::Known { first, messages } => {
                let start = first.or_else(|| log.offset_of(*messages.first()?));
                let there = start.is_some_and(|start| {
                    (start..).zip(messages).all(|(offset, &message)| log.offset_of(message) == Some(offset))
                });
                match *first == Some(log.end()) && is_new(messages) {
                    true => (true, log.append(messages)),
                    false => (there, log.clone()),
                }
            }
            Step::PerhapsAt { first, messages } if is_new(messages) => {
                (*first == log.end(), log.append(messages))
            }
            Step::PerhapsAt { .. } => (true, log.clone()),
            Step::Perhaps { messages } if is_new(messages) => (true, log.append(messages)),
            Step::Perhaps { .. } => (true, log.clone()),
            Step::Seen { falling } => (log.shows(falling), log.clone()),
            Step::End(end) => (*end == log.end(), log.clone()),
        }
    }
}

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("partitions searched");
    let mut budget = Budget::of(options);
    for view in index.partitions.values() {
        let operations = operations(view);
        let messages = view.messages.iter().count();
        if view.messages.iter().any(|message| !message.sequenced) {
            findings.count("partitions with at-least-once producers", 1);
            continue;
        }
        if operations.len() > options.search_ops_max || messages > MESSAGES_MAX {
            match options.search_window_batches {
                0 => findings.count("partitions too large to search", 1),
                batches => log_windows::search(view, batches, &mut budget, &mut findings),
            }
            continue;
        }
        findings.count("partitions searched", 1);
        findings.count("operations searched", operations.len() as u64);
        match budget.search(&pinned(&operations), &operations) {
            Searched::Legal => {}
            Searched::Illegal => findings.flag(AnomalyKind::NoLegalOrder, &view.name, &[], || {
                format!("no order of its {} operations explains their answers", operations.len())
            }),
            Searched::OutOfTime => findings.doubt(format!(
                "the search for an order of {} operations on {} ran out of time",
                operations.len(),
                view.name
            )),
        }
    }
    findings
}

fn operations(view: &PartitionView<'_>) -> Vec<Operation<Append>> {
    let mut numbers: HashMap<&MessageId, u32> = HashMap::new();
    let mut operations = Vec::new();
    for (op, call) in view.publishes.iter().filter(|(op, _)| op.outcome != Outcome::Fail) {
        let messages: Vec<u32> = call.messages.iter().map(|sent| number(&mut numbers, &sent.id)).collect();
        let step = match call.appended.filter(|_| op.is_ok()) {
            Some(ack) if ack.duplicate => Step::Known { first: ack.first_offset, messages },
            Some(ack) => Step::Stored { first: ack.first_offset.unwrap_or(u64::MAX), messages },
            None => Step::Perhaps { messages },
        };
        operations.push(operation(op, step));
    }
    let pages = view.reads.iter().filter_map(|(op, call)| Some((op, &call.page.as_ref()?.records)));
    let scans = view.scans.iter().filter_map(|(op, call)| Some((op, &call.scan.as_ref()?.records)));
    for (op, records) in pages.chain(scans).filter(|(op, _)| op.outcome != Outcome::Fail) {
        let number = |seen: &Seen| numbers.get(&seen.id).copied().unwrap_or(u32::MAX);
        let intact = records.iter().filter(|seen| seen.crc_ok);
        let mut falling: Vec<(u64, u32)> = intact.map(|seen| (seen.offset, number(seen))).collect();
        falling.sort_unstable_by(|a, b| b.cmp(a));
        falling.dedup();
        if !falling.is_empty() {
            operations.push(operation(op, Step::Seen { falling }));
        }
    }
    for (op, call) in view.ends.iter().filter(|(op, _)| op.is_ok()) {
        operations.extend(call.end.map(|end| operation(op, Step::End(end))));
    }
    operations
}

/// The operations with each unknown append put where somebody saw it, or left out if nobody did.
fn pinned(operations: &[Operation<Append>]) -> Vec<Operation<Append>> {
    let mut at: HashMap<u32, u64> = HashMap::new();
    for operation in operations {
        match &operation.op {
            Step::Seen { falling } => at.extend(falling.iter().map(|(offset, message)| (*message, *offset))),
            Step::Known { first: Some(first), messages } => at.extend(messages.iter().copied().zip(*first..)),
            _ => {}
        }
    }
    let pin = |operation: &Operation<Append>| {
        let Step::Perhaps { messages } = &operation.op else { return Some(operation.clone()) };
        let found = (0u64..).zip(messages).find_map(|(nth, message)| at.get(message)?.checked_sub(nth));
        let step = Step::PerhapsAt { first: found?, messages: messages.clone() };
        Some(Operation { op: step, ..operation.clone() })
    };
    operations.iter().filter_map(pin).collect()
}

fn number<'a>(numbers: &mut HashMap<&'a MessageId, u32>, id: &'a MessageId) -> u32 {
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    *numbers.entry(id).or_insert(next)
}

pub(crate) fn operation(op: &Op, step: Step) -> Operation<Append> {
    // An unknown append may take effect after its client gave up; what was read was read by then.
    let ended = op.complete_ns.filter(|_| !matches!(step, Step::Perhaps { .. }));
    Operation {
        client_id: u32::try_from(op.process).ok(),
        call_time: moment(Some(op.invoke_ns)),
        return_time: moment(ended),
        op: step,
        metadata: None,
    }
}
