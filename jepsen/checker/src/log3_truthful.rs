//! LOG-3: what definitely failed, or was never sent, is never read; what is read has the bytes that were sent.

use meridian_history::{Op, Seen};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("messages read");
    for view in index.partitions.values() {
        for (op, seen) in view.sightings() {
            findings.count("messages read", 1);
            judge(view, op, seen, &mut findings);
        }
    }
    findings
}

fn judge(view: &PartitionView<'_>, op: &Op, seen: &Seen, findings: &mut Findings) {
    let place = &view.name;
    if !seen.crc_ok {
        findings.flag(AnomalyKind::BadCrc, place, &[op.id], || {
            format!("the payload at {} does not match its checksum", seen.offset)
        });
        return;
    }
    let Some(message) = view.messages.get(&seen.id) else {
        findings.flag(AnomalyKind::Phantom, place, &[op.id], || {
            format!("{} was read at {}, but nobody sent it here", seen.id, seen.offset)
        });
        return;
    };
    let ops = [message.op, op.id];
    if op.complete_ns.is_some_and(|end| end < message.invoke_ns) {
        findings.flag(AnomalyKind::Phantom, place, &ops, || {
            format!("{} was read at {} before it was sent", seen.id, seen.offset)
        });
    } else if message.failed {
        findings.flag(AnomalyKind::AbortedRead, place, &ops, || {
            format!("{} was read at {}, but every attempt to send it failed", seen.id, seen.offset)
        });
    }
    if seen.crc != message.crc {
        findings.flag(AnomalyKind::BadCrc, place, &ops, || {
            format!(
                "{} at {} has checksum {:08x}, sent was {:08x}",
                seen.id, seen.offset, seen.crc, message.crc
            )
        });
    }
}
