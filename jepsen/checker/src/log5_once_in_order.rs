//! LOG-5: a sequenced producer's message is stored once, in its order, with none passed over.
//!
//! Judged per producer, epoch and partition over what the offsets are known to hold. Offsets that nobody
//! saw (trimmed before they were read) may hold anything: a sequence is passed over only if the unseen
//! offsets before it are too few to hold what is missing.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::MessageId;

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("sequenced messages placed");
    for view in index.partitions.values() {
        find_duplicates(view, &mut findings);
        find_disorder(view, &mut findings);
    }
    findings
}

fn is_sequenced(view: &PartitionView<'_>, id: &MessageId) -> bool {
    view.messages.get(id).is_none_or(|message| message.sequenced)
}

fn find_duplicates(view: &PartitionView<'_>, findings: &mut Findings) {
    let seen = view.sightings().filter(|(_, seen)| seen.crc_ok);
    let seen = seen.map(|(op, seen)| (&seen.id, seen.offset, op.id));
    let acked = view.acks().filter_map(|ack| Some((ack.id, ack.offset?, ack.op.id)));
    let mut all: Vec<_> = seen.chain(acked).filter(|(id, ..)| is_sequenced(view, id)).collect();
    all.sort_unstable();
    all.dedup_by_key(|(id, offset, _)| (*id, *offset));
    for pair in all.windows(2) {
        let [(id, offset, op), (other_id, other, other_op)] = pair else { continue };
        if id == other_id {
            findings.flag(AnomalyKind::Duplicate, &view.name, &[*op, *other_op], || {
                format!("{id} is at {offset} and at {other}")
            });
        }
    }
}

/// How far a producer has come under one epoch, walking the log upwards.
#[derive(Debug, Default)]
struct Progress {
    /// The next sequence expected.
    next: u64,
    /// Offset after the last message of this producer and epoch.
    from: u64,
    /// How many offsets below `from` are known.
    known_before: u64,
}

fn find_disorder(view: &PartitionView<'_>, findings: &mut Findings) {
    let mut sequences: BTreeMap<(&str, u64), BTreeSet<u64>> = BTreeMap::new();
    for id in view.placed.values() {
        sequences.entry((&id.producer, id.epoch)).or_default().insert(id.sequence);
    }
    let mut walk: BTreeMap<(&str, u64), Progress> = BTreeMap::new();
    let mut told: BTreeSet<&MessageId> = BTreeSet::new();
    for (known, (&offset, &id)) in (0u64..).zip(&view.placed) {
        // A second copy is a duplicate and has been reported as one.
        if !is_sequenced(view, id) || !told.insert(id) {
            continue;
        }
        findings.count("sequenced messages placed", 1);
        let who = (id.producer.as_str(), id.epoch);
        let progress = walk.entry(who).or_default();
        let ops: Vec<u64> = view.messages.get(id).map(|message| message.op).into_iter().collect();
        if id.sequence < progress.next {
            findings.flag(AnomalyKind::NonmonotonicSend, &view.name, &ops, || {
                format!("{id} is at {offset}, after sequence {}", progress.next - 1)
            });
            continue;
        }
        let elsewhere = sequences[&who].range(progress.next..id.sequence).count() as u64;
        let missing = id.sequence - progress.next - elsewhere;
        let unseen = (offset - progress.from) - (known - progress.known_before);
        if missing > unseen {
            findings.flag(AnomalyKind::SeqGap, &view.name, &ops, || {
                format!("{id} is at {offset}, but {missing} sequences from {} on are nowhere", progress.next)
            });
        }
        *progress =
            Progress { next: id.sequence.saturating_add(1), from: offset + 1, known_before: known + 1 };
    }
    findings.count("producers and epochs", walk.len() as u64);
}
