//! LOG-2: an acked message becomes readable, on every replica, within the time the harness grants after heal.
//!
//! The harness scans each replica until it has converged or the time is up; its last `ok` scan is what the
//! replica shows. A scan that began before the last heal ended shows nothing.

use std::collections::BTreeSet;

use crate::{
    anomaly::AnomalyKind, final_log::Holds, findings::Findings, index::Index, partition_view::PartitionView,
};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("acked messages on replicas");
    for view in index.partitions.values() {
        let acked = view.acks().count();
        if acked == 0 {
            continue;
        }
        for replica in &view.silent {
            findings.flag(AnomalyKind::Unseen, &view.name, &[], || {
                format!("{replica} never served a final scan, so {acked} acked messages stay unread there")
            });
        }
        if view.finals.is_empty() {
            findings.doubt(format!("{}: no final scan after the last heal", view.name));
        }
        let scanned = view.scans.iter().map(|(_, call)| call.replica.as_str());
        let replicas = scanned.chain(view.chains.iter().map(|(_, call)| call.replica.as_str()));
        let replicas: BTreeSet<&str> = replicas.filter(|replica| !view.silent.contains(replica)).collect();
        for replica in replicas.into_iter().filter(|replica| !view.finals.contains_key(replica)) {
            findings.doubt(format!("{}: {replica} was not scanned after the last heal", view.name));
        }
        compare(view, &mut findings);
    }
    findings
}

fn compare(view: &PartitionView<'_>, findings: &mut Findings) {
    for log in view.finals.values() {
        findings.count("final scans", 1);
        for acked in view.acks() {
            if !log.follows(acked.op) {
                findings.doubt(format!("{}: acks after the final scan of {}", view.name, log.replica));
                continue;
            }
            let holds = log.holds(acked.id, acked.offset);
            findings.count("acked messages on replicas", u64::from(holds != Holds::Excused));
            if holds == Holds::No {
                findings.flag(AnomalyKind::Unseen, &view.name, &[acked.op.id, log.op.id], || {
                    let offset = acked.offset.map_or("an unknown offset".to_owned(), |o| o.to_string());
                    format!("{} was acked at {offset}, but {} does not show it", acked.id, log.replica)
                });
            }
        }
    }
}
