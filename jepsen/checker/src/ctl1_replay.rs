//! CTL-1 by replay: answers in the order of their Raft indexes, and that order against real time.
//!
//! A write whose outcome is unknown has no index. It is taken as possible, any number of times, at every
//! index above what had been answered when it was sent: generous, so that nothing correct is called wrong.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::{Control, ControlAnswer, ControlOp, Op, OpId, Outcome};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index};

/// What a name may hold: nothing, or a configuration.
type Held<'a> = Option<&'a str>;

/// An answered operation at its place in the Raft log.
#[derive(Debug, Clone, Copy)]
struct Answered<'a> {
    raft_index: u64,
    op: &'a Op,
    call: &'a Control,
    answer: &'a ControlAnswer,
}

pub(crate) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut answered: Vec<Answered<'_>> = Vec::new();
    for &(op, call) in index.controls.iter().filter(|(op, _)| op.is_ok()) {
        if let Some((answer, raft_index)) = &call.answer {
            answered.push(Answered { raft_index: *raft_index, op, call, answer });
        }
    }
    findings.count("metadata answers", answered.len() as u64);
    let known = Known::of(&answered);
    check_real_time(&answered, &known, findings);

    let unknown =
        index.controls.iter().filter(|(op, call)| op.outcome == Outcome::Info && call.op.is_write());
    let mut possible: Vec<(u64, &Control)> =
        unknown.map(|(op, call)| (known.before(op).map_or(0, |last| last.raft_index + 1), *call)).collect();
    findings.count("metadata writes of unknown outcome", possible.len() as u64);
    possible.sort_by_key(|(from, _)| *from);

    // Reads answer for the state after the entry whose index they carry.
    answered.sort_by_key(|step| (step.raft_index, !step.call.op.is_write(), step.op.id));
    for pair in answered.windows(2).filter(|pair| pair[0].raft_index == pair[1].raft_index) {
        if pair[1].call.op.is_write() {
            findings.doubt(format!("ops {} and {} share a Raft index", pair[0].op.id, pair[1].op.id));
        }
    }
    let names =
        answered.iter().filter(|step| step.call.op != ControlOp::List).map(|step| step.call.key.as_str());
    let names = names.chain(possible.iter().map(|(_, call)| call.key.as_str()));
    let held = names.map(|name| (name, BTreeSet::from([None]))).collect();
    let mut replay = Replay { held, possible: BTreeMap::new() };
    let mut possible = possible.into_iter().peekable();
    for step in answered {
        while let Some((_, call)) = possible.next_if(|(from, _)| *from <= step.raft_index) {
            replay.possible.entry(&call.key).or_default().insert((call.op, value(call)));
        }
        replay.step(step, findings);
    }
}

/// Since this moment, an entry at `raft_index` was known to be answered.
#[derive(Debug, Clone, Copy)]
struct Mark {
    since_ns: u64,
    raft_index: u64,
    op: OpId,
}

/// Answers by the time they came, for asking what had been answered before a moment.
struct Known {
    marks: Vec<Mark>,
}

impl Known {
    fn of(answered: &[Answered<'_>]) -> Self {
        let mark = |step: &Answered<'_>| {
            Some(Mark { since_ns: step.op.complete_ns?, raft_index: step.raft_index, op: step.op.id })
        };
        let mut marks: Vec<Mark> = answered.iter().filter_map(mark).collect();
        marks.sort_by_key(|mark| (mark.since_ns, mark.raft_index));
        for at in 1..marks.len() {
            if marks[at - 1].raft_index > marks[at].raft_index {
                marks[at] = Mark { since_ns: marks[at].since_ns, ..marks[at - 1] };
            }
        }
        Self { marks }
    }

    /// The highest index answered before this operation was sent.
    fn before(&self, op: &Op) -> Option<Mark> {
        let count = self.marks.partition_point(|mark| mark.since_ns < op.invoke_ns);
        count.checked_sub(1).map(|last| self.marks[last])
    }
}

fn check_real_time(answered: &[Answered<'_>], known: &Known, findings: &mut Findings) {
    for step in answered {
        let Some(before) = known.before(step.op) else { continue };
        // A write is an entry of its own, so its index is above all that was answered before.
        let least = before.raft_index + u64::from(step.call.op.is_write());
        if step.raft_index < least {
            findings.flag(AnomalyKind::IndexOrder, &step.call.key, &[before.op, step.op.id], || {
                let before = before.raft_index;
                format!(
                    "{:?} took effect at {}, sent after {before} was answered",
                    step.call.op, step.raft_index
                )
            });
        }
    }
}

fn value(call: &Control) -> &str {
    call.value.as_deref().unwrap_or_default()
}

/// What a write or a describe does to a name and answers; the whole of the map's semantics.
fn effect<'a>(held: Held<'a>, op: ControlOp, value: &'a str) -> (ControlAnswer, Held<'a>) {
    match (op, held) {
        (ControlOp::Create, None) => (ControlAnswer::Done, Some(value)),
        (ControlOp::Create, Some(_)) => (ControlAnswer::Exists, held),
        (ControlOp::Update, Some(_)) => (ControlAnswer::Done, Some(value)),
        (ControlOp::Delete, Some(_)) => (ControlAnswer::Done, None),
        (ControlOp::Describe, Some(now)) => (ControlAnswer::Value(now.to_owned()), held),
        (_, None) | (ControlOp::List, _) => (ControlAnswer::Missing, held),
    }
}

/// The map, as far as it is determined: for each name everything it may hold.
struct Replay<'a> {
    held: BTreeMap<&'a str, BTreeSet<Held<'a>>>,
    /// Writes that may take effect at any time.
    possible: BTreeMap<&'a str, BTreeSet<(ControlOp, &'a str)>>,
}

impl<'a> Replay<'a> {
    fn step(&mut self, step: Answered<'a>, findings: &mut Findings) {
        if step.call.op == ControlOp::List {
            self.list(step, findings);
            return;
        }
        let name = step.call.key.as_str();
        let may = self.may_hold(name);
        let outcomes = may.iter().map(|held| effect(*held, step.call.op, value(step.call)));
        let after: BTreeSet<Held<'a>> =
            outcomes.filter(|(answer, _)| answer == step.answer).map(|(_, held)| held).collect();
        if after.is_empty() {
            findings.flag(AnomalyKind::WrongAnswer, name, &[step.op.id], || {
                let (op, index) = (step.call.op, step.raft_index);
                format!("{op:?} at {index} answered {:?}, but the name could only hold {may:?}", step.answer)
            });
        }
        let after = if after.is_empty() { believed(&step) } else { after };
        self.held.insert(name, after);
    }

    fn list(&mut self, step: Answered<'a>, findings: &mut Findings) {
        let ControlAnswer::Names(listed) = step.answer else {
            findings.flag(AnomalyKind::WrongAnswer, &step.call.key, &[step.op.id], || {
                format!("List answered {:?}", step.answer)
            });
            return;
        };
        let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
        let known: Vec<&'a str> = self.held.keys().copied().collect();
        for name in listed.iter().filter(|name| !known.contains(name) || !name.starts_with(&step.call.key)) {
            findings
                .flag(AnomalyKind::WrongAnswer, name, &[step.op.id], || "listed, but never made".to_owned());
        }
        for name in known.into_iter().filter(|name| name.starts_with(&step.call.key)) {
            let present = listed.contains(name);
            let may = self.may_hold(name);
            let after: BTreeSet<Held<'a>> =
                may.iter().filter(|held| held.is_some() == present).copied().collect();
            if after.is_empty() {
                findings.flag(AnomalyKind::WrongAnswer, name, &[step.op.id], || {
                    let index = step.raft_index;
                    format!("List at {index} says present: {present}, but it could only hold {may:?}")
                });
            } else {
                self.held.insert(name, after);
            }
        }
    }

    /// Everything a name may hold now, possible writes included.
    fn may_hold(&self, name: &str) -> BTreeSet<Held<'a>> {
        let mut may = self.held.get(name).cloned().unwrap_or_else(|| BTreeSet::from([None]));
        let Some(possible) = self.possible.get(name) else { return may };
        loop {
            let more: BTreeSet<Held<'a>> = may
                .iter()
                .flat_map(|held| possible.iter().map(|(op, value)| effect(*held, *op, value).1))
                .filter(|held| !may.contains(held))
                .collect();
            if more.is_empty() {
                return may;
            }
            may.extend(more);
        }
    }
}

/// The state to go on from after a wrong answer, so that one mistake is reported once.
fn believed<'a>(step: &Answered<'a>) -> BTreeSet<Held<'a>> {
    BTreeSet::from([match (step.answer, step.call.op) {
        (ControlAnswer::Value(now), _) => Some(now.as_str()),
        (ControlAnswer::Done, ControlOp::Create | ControlOp::Update) => Some(value(step.call)),
        (ControlAnswer::Exists, _) => Some(""),
        _ => None,
    }])
}
