//! CTL-1 by search: for each name, some order of its operations that respects real time explains all answers.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::{Control, ControlAnswer, ControlOp, Op, Outcome};
use porcupine_rs::{Model, Operation};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    options::Options,
    search::{Budget, Searched, moment},
};

/// One name: absent, or holding a configuration.
#[derive(Debug, Clone)]
struct Name;

/// An operation on one name and, if it came, its answer.
#[derive(Debug, Clone)]
struct Asked {
    op: ControlOp,
    value: String,
    /// None if the outcome is unknown. An unknown write that never took effect is one that takes effect
    /// after everything else.
    answer: Option<ControlAnswer>,
}

impl Model for Name {
    type State = Option<String>;
    type Op = Asked;
    type Metadata = ();

    fn init() -> Self::State {
        None
    }

    fn step(state: &Self::State, asked: &Self::Op) -> (bool, Self::State) {
        let (answer, next) = match (asked.op, state) {
            (ControlOp::Create, Some(_)) => (ControlAnswer::Exists, state.clone()),
            (ControlOp::Create, None) => (ControlAnswer::Done, Some(asked.value.clone())),
            (ControlOp::List, _) => {
                // Seen from one name, a listing is the name or nothing.
                let present = state.iter().map(|_| String::new()).collect();
                (ControlAnswer::Names(present), state.clone())
            }
            (_, None) => (ControlAnswer::Missing, None),
            (ControlOp::Update, Some(_)) => (ControlAnswer::Done, Some(asked.value.clone())),
            (ControlOp::Delete, Some(_)) => (ControlAnswer::Done, None),
            (ControlOp::Describe, Some(value)) => (ControlAnswer::Value(value.clone()), state.clone()),
        };
        (asked.answer.as_ref().is_none_or(|told| *told == answer), next)
    }
}

pub(crate) fn check(index: &Index<'_>, options: &Options, findings: &mut Findings) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (_, call) in &index.controls {
        match (call.op, &call.answer) {
            (ControlOp::List, Some((ControlAnswer::Names(listed), _))) => {
                names.extend(listed.iter().map(String::as_str));
            }
            (ControlOp::List, _) => {}
            _ => {
                names.insert(&call.key);
            }
        }
    }
    let mut budget = Budget::of(options);
    for (name, operations) in per_name(index, &names) {
        findings.count("names searched", 1);
        match budget.search(&without_unseen(&operations), &operations) {
            Searched::Legal => {}
            Searched::Illegal => findings.flag(AnomalyKind::NotLinearizable, name, &[], || {
                format!("no order of its {} operations explains their answers", operations.len())
            }),
            Searched::OutOfTime => findings.doubt(format!(
                "the search for an order of {} operations on {name} ran out of time",
                operations.len()
            )),
        }
    }
}

fn per_name<'a>(index: &Index<'a>, names: &BTreeSet<&'a str>) -> BTreeMap<&'a str, Vec<Operation<Name>>> {
    let mut all: BTreeMap<&str, Vec<Operation<Name>>> = BTreeMap::new();
    for &(op, call) in &index.controls {
        if op.outcome == Outcome::Fail || (op.outcome == Outcome::Info && !call.op.is_write()) {
            continue;
        }
        if call.op != ControlOp::List {
            let answer = call.answer.as_ref().filter(|_| op.is_ok()).map(|(answer, _)| answer.clone());
            all.entry(&call.key).or_default().push(operation(op, call, answer));
            continue;
        }
        let Some((ControlAnswer::Names(listed), _)) = &call.answer else { continue };
        for name in names.iter().filter(|name| name.starts_with(&call.key)) {
            let present =
                listed.iter().filter(|other| other == name).map(|_| String::new()).take(1).collect();
            let answer = Some(ControlAnswer::Names(present));
            all.entry(name).or_default().push(operation(op, call, answer));
        }
    }
    all
}

/// The operations without those unknown writes whose value nobody was ever told.
fn without_unseen(operations: &[Operation<Name>]) -> Vec<Operation<Name>> {
    let told = operations.iter().filter_map(|operation| match &operation.op.answer {
        Some(ControlAnswer::Value(value)) => Some(value),
        _ => None,
    });
    let told: BTreeSet<&String> = told.collect();
    let seen = |asked: &Asked| {
        asked.answer.is_some() || asked.op == ControlOp::Delete || told.contains(&asked.value)
    };
    operations.iter().filter(|operation| seen(&operation.op)).cloned().collect()
}

fn operation(op: &Op, call: &Control, answer: Option<ControlAnswer>) -> Operation<Name> {
    let ended = op.complete_ns.filter(|_| op.is_ok());
    Operation {
        client_id: u32::try_from(op.process).ok(),
        call_time: moment(Some(op.invoke_ns)),
        return_time: moment(ended),
        op: Asked { op: call.op, value: call.value.clone().unwrap_or_default(), answer },
        metadata: None,
    }
}
