//! LOG-9: what retention removed never comes back.
//!
//! A log start learned from the cluster binds every later read that went through the cluster; one learned
//! from a replica binds that replica, since another may lag behind it. After heal all have converged: the
//! highest log start anybody saw binds every final scan.

use std::collections::BTreeMap;

use meridian_history::{Op, OpId, Outcome};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index, partition_view::PartitionView};

/// Whose word it is: the cluster's, or one replica's.
type Source<'a> = Option<&'a str>;

/// From this moment on, nothing below `start` may be served.
#[derive(Debug, Clone, Copy)]
struct Floor {
    since_ns: u64,
    start: u64,
    op: OpId,
}

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("log starts observed");
    for view in index.partitions.values() {
        let floors = floors(view, &mut findings);
        for (op, call) in view.reads.iter().filter(|(op, _)| op.outcome != Outcome::Fail) {
            let lowest = call.page.iter().flat_map(|page| &page.records).map(|seen| seen.offset).min();
            judge(view, op, lowest, floors.before(call.node.as_deref(), op), "read", &mut findings);
        }
        for (op, call) in view.starts.iter().filter(|(op, _)| op.is_ok()) {
            let floor = floors.before(call.node.as_deref(), op);
            judge(view, op, call.start, floor, "said to be the log start", &mut findings);
        }
        check_scans(view, &floors, &mut findings);
    }
    findings
}

fn check_scans(view: &PartitionView<'_>, floors: &Floors<'_>, findings: &mut Findings) {
    for (op, call) in view.scans.iter().filter(|(op, _)| op.outcome != Outcome::Fail) {
        let Some(scan) = &call.scan else { continue };
        let own = floors.before(Some(&call.replica), op);
        let said = Some(Floor { since_ns: op.invoke_ns, start: scan.start, op: op.id });
        // Only the last scan shows a replica that has converged with all others.
        let is_last = view.finals.get(call.replica.as_str()).is_some_and(|log| log.op.id == op.id);
        let anyone = if is_last { floors.highest_before(op) } else { None };
        let floor = [own, said, anyone].into_iter().flatten().max_by_key(|floor| floor.start);
        let lowest = scan.records.iter().map(|seen| seen.offset).min();
        judge(view, op, lowest, floor, "scanned", findings);
    }
}

fn judge(
    view: &PartitionView<'_>,
    op: &Op,
    lowest: Option<u64>,
    floor: Option<Floor>,
    how: &str,
    findings: &mut Findings,
) {
    let (Some(lowest), Some(floor)) = (lowest, floor) else { return };
    findings.count("answers compared with a log start", 1);
    if lowest < floor.start {
        findings.flag(AnomalyKind::Resurrection, &view.name, &[floor.op, op.id], || {
            format!("{lowest} was {how} although the log start was {}", floor.start)
        });
    }
}

/// Every observed log start, by source and time, made monotone.
struct Floors<'a> {
    by_source: BTreeMap<Source<'a>, Vec<Floor>>,
}

fn floors<'a>(view: &PartitionView<'a>, findings: &mut Findings) -> Floors<'a> {
    let mut by_source: BTreeMap<Source<'a>, Vec<Floor>> = BTreeMap::new();
    for (op, call) in view.starts.iter().filter(|(op, _)| op.is_ok()) {
        let (Some(since_ns), Some(start)) = (op.complete_ns, call.start) else { continue };
        findings.count("log starts observed", 1);
        by_source.entry(call.node.as_deref()).or_default().push(Floor { since_ns, start, op: op.id });
    }
    for list in by_source.values_mut() {
        list.sort_by_key(|floor| (floor.since_ns, floor.start));
        for at in 1..list.len() {
            if list[at - 1].start > list[at].start {
                list[at] = Floor { since_ns: list[at].since_ns, ..list[at - 1] };
            }
        }
    }
    Floors { by_source }
}

impl Floors<'_> {
    /// What this source had said before an operation began.
    fn before(&self, source: Source<'_>, op: &Op) -> Option<Floor> {
        let list = self.by_source.get(&source)?;
        let count = list.partition_point(|floor| floor.since_ns < op.invoke_ns);
        count.checked_sub(1).map(|last| list[last])
    }

    /// The highest that any source had said before an operation began.
    fn highest_before(&self, op: &Op) -> Option<Floor> {
        self.by_source.keys().filter_map(|source| self.before(*source, op)).max_by_key(|floor| floor.start)
    }
}
