//! LOG-1: an acked message is durable.
//!
//! Every message of every `ok` publish, at or above the final log start, is in the final log at the offset
//! its ack named. The final log is what the replicas' last scans hold between them: a message that one of
//! them has is not lost (that another lacks it is LOG-2's business).

use crate::{
    anomaly::AnomalyKind,
    final_log::{FinalLog, Holds},
    findings::Findings,
    index::Index,
    partition_view::{Acked, PartitionView},
};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("acked messages looked up");
    for view in index.partitions.values() {
        for acked in view.acks() {
            judge(view, acked, &mut findings);
        }
    }
    findings
}

fn judge(view: &PartitionView<'_>, acked: Acked<'_>, findings: &mut Findings) {
    let later: Vec<&FinalLog<'_>> = view.finals.values().filter(|log| log.follows(acked.op)).collect();
    if later.is_empty() {
        findings.doubt(format!("{}: acked messages that no final scan followed", view.name));
        return;
    }
    let answers = || later.iter().map(|log| (log, log.holds(acked.id, acked.offset)));
    if answers().any(|(_, holds)| holds == Holds::Yes) {
        findings.count("acked messages looked up", 1);
    } else if answers().all(|(_, holds)| holds == Holds::Excused) {
        findings.count("acked messages trimmed or expired", 1);
    } else {
        findings.count("acked messages looked up", 1);
        let sinner = answers().find(|(_, holds)| *holds != Holds::Excused);
        findings.flag(AnomalyKind::Lost, &view.name, &[acked.op.id], || {
            let told = acked.offset.map_or("without an offset".to_owned(), |offset| format!("at {offset}"));
            let instead = match (sinner, acked.offset) {
                (Some((log, Holds::Elsewhere(other))), _) => format!("{} holds it at {other}", log.replica),
                (Some((log, _)), Some(offset)) => log.describe(offset),
                _ => "no replica holds it".to_owned(),
            };
            format!("{} was acked {told}, but {instead}", acked.id)
        });
    }
}
