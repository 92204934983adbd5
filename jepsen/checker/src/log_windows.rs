//! The search for a legal order where a partition is too large to be searched whole: window by window.
//!
//! A window is a run of neighbouring batches in the log. What happened within it is a history of its own: its
//! appends, the part of each read that lies in it, and the ends within it, on a log that begins empty at its first
//! offset. If the whole has a legal order then so has each window, for leaving operations out of a legal order
//! keeps it legal. So a window without one is a violation; that all have one does not say that the whole has.
//!
//! Windows overlap, and cover only offsets that some batch accounts for. Where nobody knows what an offset held,
//! as when retention removed it unseen, a window ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meridian_history::{MessageId, Op, OpId, Outcome, Publish, Seen};
use porcupine_rs::Operation;

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    log_search::{Append, Step, operation},
    partition_view::PartitionView,
    search::{Budget, Searched, moment},
};

/// A batch where the log shows it, or, where nobody saw it, where its ack says it is; and every attempt to append it.
#[derive(Debug)]
struct Placed<'a> {
    first: u64,
    end: u64,
    attempts: Vec<(&'a Op, &'a Publish)>,
}

/// What a read showed, by rising offsets.
struct Sight<'a> {
    op: &'a Op,
    rising: Vec<(u64, &'a MessageId)>,
}

/// Searches a partition in windows of so many batches.
pub(crate) fn search(
    view: &PartitionView<'_>,
    batches_max: usize,
    budget: &mut Budget,
    findings: &mut Findings,
) {
    let sights = sights(view);
    let (batches, unplaced) = place(view, &sights);
    let runs = runs(&batches);
    accuse_strays(view, &runs, unplaced, &sights, findings);
    let mut searched: BTreeSet<OpId> = BTreeSet::new();
    for window in runs.iter().flat_map(|run| windows(run, batches_max)) {
        let (operations, ids) = operations(view, window, &sights);
        let (from, to) = bounds(window);
        findings.count("windows searched", 1);
        match budget.search_one(&operations) {
            Searched::Legal => {}
            Searched::Illegal => findings.flag(AnomalyKind::NoLegalOrder, &view.name, &[], || {
                format!("no order of the {} operations on {from}..{to} explains their answers", ids.len())
            }),
            Searched::OutOfTime => findings.doubt(format!(
                "the search for an order of {} operations on {from}..{to} of {} ran out of time",
                ids.len(),
                view.name
            )),
        }
        searched.extend(ids);
    }
    findings.count("partitions searched", u64::from(!searched.is_empty()));
    findings.count("operations searched", searched.len() as u64);
}

fn sights<'a>(view: &PartitionView<'a>) -> Vec<Sight<'a>> {
    let pages = view.reads.iter().filter_map(|&(op, call)| Some((op, &call.page.as_ref()?.records)));
    let scans = view.scans.iter().filter_map(|&(op, call)| Some((op, &call.scan.as_ref()?.records)));
    let told = pages.chain(scans).filter(|(op, _)| op.outcome != Outcome::Fail);
    let sight = |(op, records): (&'a Op, &'a Vec<Seen>)| {
        let intact = records.iter().filter(|seen| seen.crc_ok);
        let mut rising: Vec<(u64, &MessageId)> = intact.map(|seen| (seen.offset, &seen.id)).collect();
        rising.sort_unstable();
        rising.dedup();
        Sight { op, rising }
    };
    told.map(sight).collect()
}

/// Every batch that has a place, by its place, and how many messages were sent that have none.
fn place<'a>(view: &PartitionView<'a>, sights: &[Sight<'a>]) -> (Vec<Placed<'a>>, u64) {
    let mut shown: HashMap<&MessageId, u64> = HashMap::new();
    for (offset, id) in sights.iter().flat_map(|sight| &sight.rising) {
        shown.entry(id).or_insert(*offset);
    }
    // Whichever attempt was told: a place is a place for all attempts of the batch.
    for (id, offset) in view.acks().filter_map(|ack| Some((ack.id, ack.offset?))) {
        shown.entry(id).or_insert(offset);
    }
    let (mut batches, mut unplaced) = (BTreeMap::new(), 0);
    for &(op, call) in view.publishes.iter().filter(|(op, _)| op.outcome != Outcome::Fail) {
        let messages = (0u64..).zip(&call.messages);
        let seen = messages.clone().find_map(|(nth, sent)| shown.get(&sent.id).copied()?.checked_sub(nth));
        let (Some(first), Some(name)) = (seen, call.messages.first().map(|sent| &sent.id)) else {
            unplaced += call.messages.len() as u64;
            continue;
        };
        let end = first.saturating_add(call.messages.len() as u64);
        let batch = batches.entry((first, name)).or_insert(Placed { first, end, attempts: Vec::new() });
        batch.attempts.push((op, call));
    }
    (batches.into_values().collect(), unplaced)
}

/// Batches that follow each other without a hole.
fn runs<'b, 'a>(batches: &'b [Placed<'a>]) -> Vec<&'b [Placed<'a>]> {
    batches.chunk_by(|before, after| after.first <= before.end).collect()
}

/// Windows of a run, each beginning within the one before it.
fn windows<'b, 'a>(
    run: &'b [Placed<'a>],
    batches_max: usize,
) -> impl Iterator<Item = &'b [Placed<'a>]> + use<'a, 'b> {
    let stride = (batches_max * 3 / 4).max(1);
    let beginnings = (0..run.len()).step_by(stride);
    let beginnings = beginnings.filter(move |at| *at == 0 || at + batches_max - stride < run.len());
    beginnings.map(move |at| &run[at..run.len().min(at + batches_max)])
}

fn bounds(window: &[Placed<'_>]) -> (u64, u64) {
    let from = window.first().map_or(0, |batch| batch.first);
    (from, window.iter().map(|batch| batch.end).max().unwrap_or(from))
}

/// What lies in no window is explained by no order either: a message at an offset where no append put one, and an
/// end where there is none, unless an append that nobody ever saw again may have made it.
fn accuse_strays(
    view: &PartitionView<'_>,
    runs: &[&[Placed<'_>]],
    unplaced: u64,
    sights: &[Sight<'_>],
    findings: &mut Findings,
) {
    let known: Vec<(u64, u64)> = runs.iter().map(|run| bounds(run)).collect();
    let run_of = |offset: u64| {
        let next = known.partition_point(|(from, _)| *from <= offset);
        next.checked_sub(1).map(|at| known[at])
    };
    for sight in sights {
        for (offset, id) in &sight.rising {
            if run_of(*offset).is_none_or(|(_, to)| *offset >= to) {
                findings.flag(AnomalyKind::NoLegalOrder, &view.name, &[sight.op.id], || {
                    format!("{id} was read at {offset}, where no append put anything")
                });
            }
        }
    }
    let ends = view.ends.iter().filter(|(op, _)| op.is_ok()).filter_map(|(op, call)| Some((op, call.end?)));
    let most: u64 = known.iter().map(|(from, to)| to - from).sum::<u64>() + unplaced;
    for (op, end) in ends {
        let outside = end > 0 && run_of(end).is_none_or(|(_, to)| end > to);
        if (outside && unplaced == 0) || end > most {
            findings.flag(AnomalyKind::NoLegalOrder, &view.name, &[op.id], || {
                format!("the log was said to end at {end}, where no append ended")
            });
        }
    }
}

fn operations(
    view: &PartitionView<'_>,
    window: &[Placed<'_>],
    sights: &[Sight<'_>],
) -> (Vec<Operation<Append>>, Vec<OpId>) {
    let (from, to) = bounds(window);
    let mut numbers: HashMap<&MessageId, u32> = HashMap::new();
    let (mut operations, mut ids) = (Vec::new(), Vec::new());
    for batch in window {
        ids.extend(batch.attempts.iter().map(|(op, _)| op.id));
        append(batch, from, &mut numbers, &mut operations);
    }
    for sight in sights {
        let begin = sight.rising.partition_point(|(offset, _)| *offset < from);
        let end = sight.rising.partition_point(|(offset, _)| *offset < to);
        let number = |id: &MessageId| numbers.get(id).copied().unwrap_or(u32::MAX);
        let seen = sight.rising[begin..end].iter().rev();
        let falling: Vec<(u64, u32)> = seen.map(|(offset, id)| (offset - from, number(id))).collect();
        if !falling.is_empty() {
            ids.push(sight.op.id);
            operations.push(operation(sight.op, Step::Seen { falling }));
        }
    }
    let ends = view.ends.iter().filter(|(op, _)| op.is_ok()).filter_map(|(op, call)| Some((op, call.end?)));
    for (op, end) in ends.filter(|(_, end)| (from..=to).contains(end)) {
        ids.push(op.id);
        operations.push(operation(op, Step::End(end - from)));
    }
    (operations, ids)
}

/// The attempts of one batch. Those of unknown outcome count as one that began with the first of them and may end
/// at any time; where another attempt was told that it stored the batch anew, none of them did.
fn append<'a>(
    batch: &Placed<'a>,
    from: u64,
    numbers: &mut HashMap<&'a MessageId, u32>,
    operations: &mut Vec<Operation<Append>>,
) {
    let mut unknown: Option<Operation<Append>> = None;
    let mut stored = false;
    for &(op, call) in &batch.attempts {
        let messages: Vec<u32> = call
            .messages
            .iter()
            .map(|sent| {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                *numbers.entry(&sent.id).or_insert(next)
            })
            .collect();
        let within = |first: u64| first.checked_sub(from).unwrap_or(u64::MAX);
        match call.appended.filter(|_| op.is_ok()) {
            Some(ack) if ack.duplicate => {
                let first = ack.first_offset.map(within);
                operations.push(operation(op, Step::Known { first, messages }));
            }
            Some(ack) => {
                stored = true;
                let first = ack.first_offset.map_or(u64::MAX, within);
                operations.push(operation(op, Step::Stored { first, messages }));
            }
            None => {
                let step = Step::PerhapsAt { first: batch.first - from, messages };
                let first = unknown.get_or_insert(Operation {
                    client_id: None,
                    call_time: moment(Some(op.invoke_ns)),
                    return_time: moment(None),
                    op: step,
                    metadata: None,
                });
                first.call_time = first.call_time.min(moment(Some(op.invoke_ns)));
            }
        }
    }
    operations.extend(unknown.filter(|_| !stored));
}
