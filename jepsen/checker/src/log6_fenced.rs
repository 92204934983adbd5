//! LOG-6: a fenced producer writes nothing after its successor.
//!
//! When opening a producer returns, its fence is committed on every partition of the topic. Three signs of
//! a write past it: a lower epoch above a higher one in the log; a message of a lower epoch that was first
//! sent after the opening had returned; and one above any message that was sent after the opening had
//! returned. Besides, no epoch is given twice or out of order.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::{MessageId, Op};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

/// Openings of one producer name on one topic that returned an epoch.
#[derive(Debug, Default)]
struct Openings<'a> {
    list: Vec<(&'a Op, u64)>,
}

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("openings");
    let mut openings: BTreeMap<(&str, &str), Openings<'_>> = BTreeMap::new();
    for (op, call) in index.opens.iter().filter(|(op, _)| op.is_ok()) {
        if let Some(epoch) = call.epoch {
            findings.count("openings", 1);
            openings.entry((&call.topic, &call.producer)).or_default().list.push((op, epoch));
        }
    }
    for ((topic, producer), opened) in &openings {
        check_epochs(topic, producer, opened, &mut findings);
    }
    for view in index.partitions.values() {
        let mut zombies = BTreeSet::new();
        find_overtaken(view, &mut zombies, &mut findings);
        let of_topic = openings.iter().filter(|((topic, _), _)| *topic == view.topic);
        let fences = of_topic.map(|((_, producer), opened)| (*producer, fences(view, opened))).collect();
        find_fenced(view, &fences, &mut zombies, &mut findings);
    }
    findings
}

/// Epochs rise in real time: sweep openings by when they were asked for.
fn check_epochs(topic: &str, producer: &str, opened: &Openings<'_>, findings: &mut Findings) {
    let mut by_end: Vec<(&Op, u64)> = opened.list.clone();
    by_end.sort_by_key(|(op, _)| op.complete_ns);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(u64, u64)> = None;
    let mut given: BTreeMap<u64, u64> = BTreeMap::new();
    for (op, epoch) in &opened.list {
        while let Some((before, earlier)) = ended.next_if(|(before, _)| before.precedes(op)) {
            highest = highest.max(Some((earlier, before.id)));
        }
        let twice = given.insert(*epoch, op.id).map(|other| (*epoch, other));
        if let Some((earlier, other)) = twice.or(highest.filter(|(earlier, _)| earlier >= epoch)) {
            findings.flag(AnomalyKind::Zombie, topic, &[other, op.id], || {
                format!("{producer} was opened as epoch {epoch} although epoch {earlier} was already given")
            });
        }
    }
}

/// In the log, a producer's epochs never go down.
fn find_overtaken<'a>(
    view: &PartitionView<'a>,
    zombies: &mut BTreeSet<&'a MessageId>,
    findings: &mut Findings,
) {
    let mut highest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (&offset, &id) in &view.placed {
        if view.messages.get(id).is_some_and(|message| !message.sequenced) {
            continue;
        }
        findings.count("sequenced messages placed", 1);
        let (epoch, since) = *highest.entry(&id.producer).or_insert((id.epoch, offset));
        if id.epoch > epoch {
            highest.insert(&id.producer, (id.epoch, offset));
        } else if id.epoch < epoch && zombies.insert(id) {
            let ops: Vec<u64> = view.messages.get(id).map(|message| message.op).into_iter().collect();
            findings.flag(AnomalyKind::Zombie, &view.name, &ops, || {
                format!("{id} is at {offset}, above epoch {epoch}, which wrote from {since} on")
            });
        }
    }
}

fn find_fenced<'a>(
    view: &PartitionView<'a>,
    fences: &BTreeMap<&str, Vec<Fence>>,
    zombies: &mut BTreeSet<&'a MessageId>,
    findings: &mut Findings,
) {
    for message in view.messages.iter().filter(|message| message.sequenced) {
        let Some(offset) = message.offset else { continue };
        let Some(fences) = fences.get(message.id.producer.as_str()) else { continue };
        let above = fences.partition_point(|fence| fence.epoch <= message.id.epoch);
        let Some(fence) = fences.get(above) else { continue };
        let too_late = fence.since_ns < message.invoke_ns;
        let too_high = fence.lowest.is_some_and(|lowest| offset > lowest);
        if (too_late || too_high) && zombies.insert(message.id) {
            findings.flag(AnomalyKind::Zombie, &view.name, &[message.op, fence.op], || {
                format!("{} is at {offset}, stored after a higher epoch was opened", message.id)
            });
        }
    }
}

/// What holds for every epoch below this one: the strictest of this opening and all of higher epochs.
#[derive(Debug, Clone, Copy)]
struct Fence {
    epoch: u64,
    /// When it was up at the latest.
    since_ns: u64,
    op: u64,
    /// The lowest offset of a message sent after that: whatever is above it was stored behind the fence.
    lowest: Option<u64>,
}

/// The fences of one producer on one partition, by rising epoch.
fn fences(view: &PartitionView<'_>, opened: &Openings<'_>) -> Vec<Fence> {
    let mut later: Vec<(u64, u64)> = Vec::new();
    for message in view.messages.iter().rev() {
        let Some(offset) = message.offset else { continue };
        let lowest = later.last().map_or(offset, |&(_, lowest)| lowest.min(offset));
        later.push((message.invoke_ns, lowest));
    }
    later.reverse();
    let mut fences: Vec<Fence> = Vec::new();
    for (op, epoch) in &opened.list {
        let Some(since_ns) = op.complete_ns else { continue };
        let from = later.partition_point(|&(invoke_ns, _)| invoke_ns <= since_ns);
        let lowest = later.get(from).map(|&(_, lowest)| lowest);
        fences.push(Fence { epoch: *epoch, since_ns, op: op.id, lowest });
    }
    fences.sort_by_key(|fence| fence.epoch);
    for at in (1..fences.len()).rev() {
        let (above, this) = (fences[at], &mut fences[at - 1]);
        if above.since_ns < this.since_ns {
            (this.since_ns, this.op) = (above.since_ns, above.op);
        }
        this.lowest = [this.lowest, above.lowest].into_iter().flatten().min();
    }
    fences
}
