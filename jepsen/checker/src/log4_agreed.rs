//! LOG-4: one offset holds one message on every replica, at all times, and one chain head.
//!
//! Acks count as sightings: they too say which message is at which offset.

use meridian_history::{MessageId, OpId};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("offsets compared");
    for view in index.partitions.values() {
        compare_messages(view, &mut findings);
        compare_chains(view, &mut findings);
    }
    findings
}

fn compare_messages(view: &PartitionView<'_>, findings: &mut Findings) {
    let seen = view.sightings().filter(|(_, seen)| seen.crc_ok);
    let seen = seen.map(|(op, seen)| (seen.offset, &seen.id, Some(seen.crc), op.id));
    let acked = view.acks().filter_map(|ack| Some((ack.offset?, ack.id, None, ack.op.id)));
    let mut all: Vec<(u64, &MessageId, Option<u32>, OpId)> = seen.chain(acked).collect();
    all.sort_unstable();
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        findings.count("offsets compared", 1);
        findings.count("sightings", same.len() as u64);
        for pair in same.windows(2) {
            let [(offset, id, crc, op), (_, other, other_crc, other_op)] = pair else { continue };
            let differ = id != other || crc.is_some_and(|crc| other_crc.is_some_and(|other| crc != other));
            if differ {
                findings.flag(AnomalyKind::InconsistentOffset, &view.name, &[*op, *other_op], || {
                    let crcs =
                        [crc, other_crc].map(|crc| crc.map_or("ack".to_owned(), |c| format!("{c:08x}")));
                    format!("offset {offset} holds {id} ({}) and {other} ({})", crcs[0], crcs[1])
                });
            }
        }
    }
}

fn compare_chains(view: &PartitionView<'_>, findings: &mut Findings) {
    let answered =
        view.chains.iter().filter_map(|(op, call)| Some((call.at.as_ref()?, op.id, &call.replica)));
    let mut heads: Vec<_> =
        answered.map(|(at, op, replica)| (at.offset, at.head.as_str(), op, replica)).collect();
    heads.sort_unstable();
    for same in heads.chunk_by(|a, b| a.0 == b.0) {
        findings.count("chain heads", same.len() as u64);
        for pair in same.windows(2) {
            let [(offset, head, op, replica), (_, other, other_op, other_replica)] = pair else { continue };
            if head != other {
                findings.flag(AnomalyKind::ChainMismatch, &view.name, &[*op, *other_op], || {
                    format!("below {offset} {replica} has chain head {head}, {other_replica} has {other}")
                });
            }
        }
    }
}
