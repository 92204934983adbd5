//! LOG-7: appends to a partition are linearizable, and so is its end offset.
//!
//! Whatever was acked, read or counted into an end before an append was first sent is below that append.
//! An end offset is above all that was acked or read, and no lower than any end, before it was asked for.

use meridian_history::OpId;

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

/// From this moment on, the log is known to reach at least `end`.
#[derive(Debug, Clone, Copy)]
struct Known {
    since_ns: u64,
    end: u64,
    op: OpId,
}

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("messages placed in time");
    for view in index.partitions.values() {
        let known = knowledge(view);
        check_appends(view, &known, &mut findings);
        check_ends(view, &known, &mut findings);
    }
    findings
}

/// What is known of the end, by the time it was known, made monotone.
fn knowledge(view: &PartitionView<'_>) -> Vec<Known> {
    let acked = view.acks().filter_map(|ack| {
        let offset = ack.offset.or_else(|| view.messages.get(ack.id)?.offset)?;
        Some(Known { since_ns: ack.op.complete_ns?, end: offset.checked_add(1)?, op: ack.op.id })
    });
    let read = view.sightings().filter_map(|(op, seen)| {
        Some(Known { since_ns: op.complete_ns?, end: seen.offset.checked_add(1)?, op: op.id })
    });
    let ends = view.ends.iter().filter(|(op, _)| op.is_ok());
    let ends =
        ends.filter_map(|(op, call)| Some(Known { since_ns: op.complete_ns?, end: call.end?, op: op.id }));
    let mut known: Vec<Known> = acked.chain(read).chain(ends).collect();
    known.sort_by_key(|known| (known.since_ns, known.end));
    for at in 1..known.len() {
        if known[at - 1].end > known[at].end {
            known[at] = Known { since_ns: known[at].since_ns, ..known[at - 1] };
        }
    }
    known
}

/// The most that was known before this moment.
fn known_before(known: &[Known], moment_ns: u64) -> Option<Known> {
    let count = known.partition_point(|known| known.since_ns < moment_ns);
    count.checked_sub(1).map(|last| known[last])
}

fn check_appends(view: &PartitionView<'_>, known: &[Known], findings: &mut Findings) {
    for message in view.messages.iter() {
        let Some(offset) = message.offset else { continue };
        findings.count("messages placed in time", 1);
        let Some(before) = known_before(known, message.invoke_ns) else { continue };
        if offset < before.end {
            findings.flag(AnomalyKind::Realtime, &view.name, &[before.op, message.op], || {
                format!("{} is at {offset}, but was sent when the log had reached {}", message.id, before.end)
            });
        }
    }
}

fn check_ends(view: &PartitionView<'_>, known: &[Known], findings: &mut Findings) {
    for (op, call) in view.ends.iter().filter(|(op, _)| op.is_ok()) {
        let Some(end) = call.end else { continue };
        findings.count("end offsets", 1);
        let Some(before) = known_before(known, op.invoke_ns) else { continue };
        if end < before.end {
            findings.flag(AnomalyKind::StaleEnd, &view.name, &[before.op, op.id], || {
                format!("the end was said to be {end}, after the log was known to reach {}", before.end)
            });
        }
    }
}
