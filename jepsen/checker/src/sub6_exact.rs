//! SUB-6: delayed messages never come early, expired ones never come, and dead letters are exact.
//!
//! `early`: a message came before its time, by the wall clock of the recording machine. `late-expired`: a
//! message was asked for after it had expired, and came. Both allow for the tolerance of the run's clocks,
//! and go by the times that the producer gave, not by those that came with the delivery.
//!
//! Dead letters are judged in `sub6_dead_letters`. Not seen here: an expired message on credit that was granted
//! before it expired (it may have been sent in time); anything within the tolerance; how late a message came.

use crate::{
    anomaly::AnomalyKind, findings::Findings, index::Index, options::Options, sub_view::Lane,
    sub6_dead_letters,
};

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("messages with times or attempts");
    for subscription in index.subscriptions.all.values() {
        for lane in subscription.lanes.values() {
            check_times(lane, i128::from(options.tolerance_ns()), &mut findings);
        }
        sub6_dead_letters::check(subscription, index.healed_ns, options.tolerance_ns(), &mut findings);
    }
    findings
}

fn check_times(lane: &Lane<'_>, tolerance_ns: i128, findings: &mut Findings) {
    for handed in &lane.handed {
        let (offset, times) = (handed.what.offset, lane.times(handed.what.offset));
        if !times.is_empty() {
            findings.count("messages with times or attempts", 1);
        }
        let came = i128::from(handed.came_ns());
        if let Some(at_ms) = times.deliver_at_ms.filter(|at| came + tolerance_ns < handed.wall_ns(*at)) {
            findings.flag(AnomalyKind::Early, &lane.name, &[handed.op.id], || {
                let early = at_ms.saturating_sub(handed.what.at_ms);
                format!("{offset} came to {} {early} ms before its time", handed.consumer)
            });
        }
        let asked = i128::from(handed.op.invoke_ns);
        if times.expire_at_ms.is_some_and(|at| asked > handed.wall_ns(at) + tolerance_ns) {
            findings.flag(AnomalyKind::LateExpired, &lane.name, &[handed.op.id], || {
                format!("{offset} came to {}, who asked for it after it had expired", handed.consumer)
            });
        }
    }
}
