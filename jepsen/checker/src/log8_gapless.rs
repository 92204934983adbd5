//! LOG-8: a reading session sees offsets in order, without gaps other than the skips it is told of.
//!
//! A session begins at the `from` of its first read; what it is owed next follows from what it has seen and
//! been told. Every final scan is a session of its own, from log start to end.

use std::collections::BTreeMap;

use meridian_history::{Op, OpId, Outcome, Read, Seen, Skip};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("messages in sessions");
    for view in index.partitions.values() {
        let mut sessions: BTreeMap<u64, Vec<(&Op, &Read)>> = BTreeMap::new();
        for &(op, call) in &view.reads {
            sessions.entry(call.session).or_default().push((op, call));
        }
        for (session, reads) in &sessions {
            follow(view, *session, reads, &mut findings);
        }
        for (op, call) in &view.scans {
            let Some(scan) = call.scan.as_ref().filter(|_| op.is_ok()) else { continue };
            findings.count("final scans", 1);
            let mut reader = Reader { view, next: scan.start };
            let skips = in_order(&scan.skips);
            reader.page(op.id, &scan.records, &skips, &mut findings);
            reader.advance(op.id, scan.end, &skips, &mut findings);
        }
    }
    findings
}

fn follow(view: &PartitionView<'_>, session: u64, reads: &[(&Op, &Read)], findings: &mut Findings) {
    findings.count("sessions", 1);
    for pair in reads.windows(2) {
        let [(op, _), (next, _)] = pair else { continue };
        if op.complete_ns.is_none_or(|end| end > next.invoke_ns) {
            findings
                .doubt(format!("{}: ops {} and {} of session {session} overlap", view.name, op.id, next.id));
            return;
        }
    }
    let Some((_, first)) = reads.first() else { return };
    let mut reader = Reader { view, next: first.from };
    for (op, call) in reads.iter().filter(|(op, _)| op.outcome != Outcome::Fail) {
        if let Some(page) = &call.page {
            reader.page(op.id, &page.records, &in_order(&page.skips), findings);
        }
    }
}

fn in_order(skips: &[Skip]) -> Vec<Skip> {
    let mut skips = skips.to_vec();
    skips.sort_by_key(|skip| (skip.from, skip.to));
    skips
}

/// Where a session stands.
struct Reader<'v, 'a> {
    view: &'v PartitionView<'a>,
    /// The offset it is owed next.
    next: u64,
}

impl Reader<'_, '_> {
    fn page(&mut self, op: OpId, records: &[Seen], skips: &[Skip], findings: &mut Findings) {
        for seen in records {
            findings.count("messages in sessions", 1);
            if seen.offset < self.next {
                findings.flag(AnomalyKind::NonmonotonicPoll, &self.view.name, &[op], || {
                    format!("{} came at {} when {} was due", seen.id, seen.offset, self.next)
                });
                continue;
            }
            self.advance(op, seen.offset, skips, findings);
            self.next = seen.offset.saturating_add(1);
        }
        if let Some(told) = skips.iter().map(|skip| skip.to).max().filter(|told| *told > self.next) {
            self.advance(op, told, skips, findings);
        }
    }

    /// Goes on to `to`; what lies before it must be in `skips`, which are sorted.
    fn advance(&mut self, op: OpId, to: u64, skips: &[Skip], findings: &mut Findings) {
        let due = self.next;
        if to <= due {
            return;
        }
        let mut covered = due;
        for skip in skips.iter().take_while(|skip| skip.from < to) {
            if skip.from > covered {
                break;
            }
            covered = covered.max(skip.to);
        }
        if covered < to {
            findings.flag(AnomalyKind::PollSkip, &self.view.name, &[op], || {
                format!("went from {due} to {to}, and {covered} was skipped without a word")
            });
        } else {
            findings.count("offsets in reported skips", to - due);
        }
        self.next = to;
    }
}
