//! Origins that change their past: disks rolled back to an image, and a proper restore under a new log id.
//!
//! Heads are modelled as what they stand for: the whole history up to an offset. The destination's coverage has a row
//! for each log id. A rolled-back origin must never be continued with other messages (`Diverged`); a restored one is
//! a new log whose first offset is where the old one was sealed, and nothing of it is shipped twice.

use std::collections::BTreeSet;

use stateright::{Model, Property};

const FRAMES_MAX: usize = 2;

/// The model and its size.
#[derive(Clone, Debug)]
pub struct History {
    /// Messages in one log, at most.
    pub messages: usize,
    /// Messages ever made, at most.
    pub made: u8,
    /// What is wrong on purpose.
    pub fault: Option<Fault>,
}

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The destination compares offsets only.
    HeadNotCompared,
    /// The restored log ships from offset 0: what the old one holds again.
    RestoreShipsAgain,
    /// A restore keeps the log id, and the link is told to believe it.
    RestoreKeepsLog,
    /// A row that does not exist yet begins wherever the first frame says.
    RowBeginsAnywhere,
}

/// One log of the origin: unique messages by offset. Below `base` they belong to an older log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Log {
    base: usize,
    messages: Vec<u8>,
}

/// Offsets `[from, from + messages)` of a log, and everything before them, as its head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    log: usize,
    head: Vec<u8>,
    messages: Vec<u8>,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The origin's logs by log id.
    logs: Vec<Log>,
    /// What a log held when its disks were rolled back.
    before: Option<Vec<u8>>,
    made: u8,
    frames: BTreeSet<Frame>,
    /// The destination's coverage by log id: what it took, from the log's base on.
    rows: Vec<Option<Log>>,
    halted: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The newest log gets and commits a message that never was before.
    Append,
    /// The disks of a majority go back to an image with so many messages; nobody is told.
    RollBack(usize),
    /// A backup with so many messages is restored as an operator should.
    Restore(usize),
    /// So many messages of a log from an offset on are shipped.
    Ship(usize, usize, usize),
    /// The network loses a frame.
    Drop(Frame),
    /// The destination applies a frame; the network may have kept a copy.
    Deliver(Frame),
}

impl History {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn restore(&self, state: &mut State, kept: usize) {
        let old = state.logs.len() - 1;
        let messages = state.logs[old].messages[..kept].to_vec();
        if self.has(Fault::RestoreKeepsLog) {
            state.before = Some(std::mem::replace(&mut state.logs[old].messages, messages));
            return;
        }
        let base = if self.has(Fault::RestoreShipsAgain) { 0 } else { kept };
        // Sealed there: the old log goes on to be shipped as far as the backup has it.
        state.before = Some(std::mem::replace(&mut state.logs[old].messages, messages.clone()));
        state.logs.push(Log { base, messages });
        state.rows.push(None);
    }

    fn deliver(&self, state: &mut State, frame: &Frame) {
        if state.halted {
            return;
        }
        let base = state.logs[frame.log].base;
        let from = frame.head.len();
        let fresh = || Log {
            base: if self.has(Fault::RowBeginsAnywhere) { from } else { base },
            messages: frame.head[..if self.has(Fault::RowBeginsAnywhere) { from } else { base }].to_vec(),
        };
        let row = state.rows[frame.log].get_or_insert_with(fresh);
        if from != row.messages.len() {
            return;
        }
        let compares = !matches!(self.fault, Some(Fault::HeadNotCompared | Fault::RestoreKeepsLog));
        if compares && frame.head != row.messages {
            state.halted = true;
            return;
        }
        row.messages.extend(&frame.messages);
    }
}

impl State {
    /// What a log held at some time.
    fn histories(&self, log: usize) -> impl Iterator<Item = &[u8]> {
        let now = self.logs[log].messages.as_slice();
        std::iter::once(now).chain(self.before.as_deref().filter(|_| log == 0))
    }

    /// GEO-1: what was taken of a log is a prefix of what that log held at one time.
    fn one_history(&self) -> bool {
        self.rows.iter().enumerate().all(|(log, row)| match row {
            None => true,
            Some(row) => {
                row.base == self.logs[log].base
                    && self.histories(log).any(|history| history.starts_with(&row.messages))
            }
        })
    }

    /// GEO-3: no message arrived twice.
    fn nothing_twice(&self) -> bool {
        let taken =
            self.rows.iter().flatten().flat_map(|row| &row.messages[row.base.min(row.messages.len())..]);
        let mut seen = BTreeSet::new();
        taken.into_iter().all(|message| seen.insert(*message))
    }
}

impl Model for History {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Some(Log::default());
        vec![State { logs: vec![Log::default()], rows: vec![row], ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let newest = &state.logs[state.logs.len() - 1];
        if newest.messages.len() < self.messages && state.made < self.made {
            actions.push(Action::Append);
        }
        // One disaster a schedule, of either kind.
        if state.before.is_none() {
            actions.extend((0..newest.messages.len()).map(Action::RollBack));
            actions.extend((0..=newest.messages.len()).map(Action::Restore));
        }
        if state.frames.len() < FRAMES_MAX {
            for (id, log) in state.logs.iter().enumerate() {
                for from in log.base..log.messages.len() {
                    let most = (log.messages.len() - from).min(2);
                    actions.extend((1..=most).map(|count| Action::Ship(id, from, count)));
                }
            }
        }
        actions.extend(state.frames.iter().cloned().map(Action::Drop));
        actions.extend(state.frames.iter().cloned().map(Action::Deliver));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let newest = state.logs.len() - 1;
        match action {
            Action::Append => {
                state.logs[newest].messages.push(state.made);
                state.made += 1;
            }
            Action::RollBack(kept) => {
                let log = &mut state.logs[newest];
                state.before = Some(log.messages.clone());
                log.messages.truncate(kept);
            }
            Action::Restore(kept) => self.restore(&mut state, kept),
            Action::Ship(log, from, count) => {
                let (head, rest) = state.logs[log].messages.split_at(from);
                state.frames.insert(Frame { log, head: head.to_vec(), messages: rest[..count].to_vec() });
            }
            Action::Drop(frame) => {
                state.frames.remove(&frame);
            }
            Action::Deliver(frame) => self.deliver(&mut state, &frame),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("GEO-1: one history for each log", |_, state: &State| state.one_history()),
            Property::always("GEO-3: nothing arrives twice", |_, state: &State| state.nothing_twice()),
            Property::sometimes("a rolled-back origin is noticed", |_, state: &State| state.halted),
            Property::sometimes("both logs of a restored origin arrive", |model: &History, state: &State| {
                let long =
                    |row: &Option<Log>| row.as_ref().is_some_and(|r| r.messages.len() == model.messages);
                state.logs.len() == 2
                    && state.rows[0].as_ref().is_some_and(|r| r.messages == state.logs[0].messages)
                    && long(&state.rows[1])
                    && !state.halted
            }),
            Property::sometimes("the destination keeps what the restore lost", |_, state: &State| {
                let (sealed, row) = (&state.logs[0], &state.rows[0]);
                state.logs.len() == 2
                    && row.as_ref().is_some_and(|row| row.messages.len() > sealed.messages.len())
            }),
        ]
    }
}
