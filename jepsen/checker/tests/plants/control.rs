//! Plants in metadata answers and in the record of faults.

use meridian_history::*;

use super::Broken;
use crate::correct_log::Chance;

pub(crate) fn skip_the_fault(history: &mut Broken, _: &mut Chance) -> bool {
    for op in &mut history.ops {
        if let Kind::Fault(fault) = &mut op.kind {
            fault.effect = Some(FaultEffect::Skipped);
        }
    }
    true
}

/// Some answered operations of these verbs.
fn some_answer<'a>(
    history: &'a mut Broken,
    chance: &mut Chance,
    fits: impl Fn(ControlOp, &ControlAnswer) -> bool,
) -> Option<&'a mut ControlAnswer> {
    let ok = history.ops.iter_mut().filter(|op| op.is_ok());
    let answers = ok.filter_map(|op| match &mut op.kind {
        Kind::Control(call) => call.answer.as_mut().map(|(answer, _)| (call.op, answer)),
        _ => None,
    });
    let mut answers: Vec<_> = answers.filter(|(op, answer)| fits(*op, answer)).collect();
    let at = chance.below(answers.len() as u64) as usize;
    (at < answers.len()).then(|| answers.swap_remove(at).1)
}

pub(crate) fn invent_value(history: &mut Broken, chance: &mut Chance) -> bool {
    let answer = some_answer(history, chance, |op, _| op == ControlOp::Describe);
    answer.map(|answer| *answer = ControlAnswer::Value("nobody wrote this".into())).is_some()
}

pub(crate) fn invent_name(history: &mut Broken, chance: &mut Chance) -> bool {
    let answer = some_answer(history, chance, |op, _| op == ControlOp::List);
    let Some(ControlAnswer::Names(names)) = answer else { return false };
    names.push("x-nobody-made-this".into());
    true
}

/// After everything: create, delete, and then a description of what was deleted.
pub(crate) fn describe_deleted(history: &mut Broken, _: &mut Chance) -> bool {
    let last = history.ops.iter().filter_map(|op| match &op.kind {
        Kind::Control(Control { answer: Some((_, index)), .. }) => Some(*index),
        _ => None,
    });
    let index = last.max().unwrap_or_default();
    let asked = [
        (ControlOp::Create, ControlAnswer::Done),
        (ControlOp::Delete, ControlAnswer::Done),
        (ControlOp::Describe, ControlAnswer::Value("v".into())),
    ];
    for (nth, (op, answer)) in (1..).zip(asked) {
        let value = (op == ControlOp::Create).then(|| "v".to_owned());
        let answer = Some((answer, index + nth));
        history.add(7_000 + 10 * nth, 7_005 + 10 * nth, Control { op, key: "xd".into(), value, answer });
    }
    true
}

pub(crate) fn go_back(history: &mut Broken, _: &mut Chance) -> bool {
    // The last answer of all comes long after the first.
    let control = |op: &&mut Op| op.is_ok() && matches!(op.kind, Kind::Control(_));
    let Some(last) = history.ops.iter_mut().filter(control).max_by_key(|op| op.invoke_ns) else {
        return false;
    };
    let Kind::Control(call) = &mut last.kind else { return false };
    let Some((_, index)) = &mut call.answer else { return false };
    let moved = *index > 1;
    *index = 0;
    moved
}
