//! RUN: a history is worth judging only if it is whole, well-formed, and its faults took effect.

use std::collections::BTreeMap;

use meridian_history::{FaultEffect, FaultPhase, History, OpId};

use crate::{anomaly::AnomalyKind, findings::Findings, index::Index};

pub(crate) fn check(history: &History, index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("operations");
    findings.count("operations", history.ops.len() as u64);
    if !history.complete {
        findings.doubt("the history was cut short: it has no end line");
    }
    for problem in &index.malformed {
        findings.doubt(problem);
    }
    let mut planned: BTreeMap<&str, (u64, Vec<OpId>)> = BTreeMap::new();
    for (op, fault) in index.faults.iter().filter(|(_, fault)| fault.phase == FaultPhase::Installed) {
        let (installed, ops) = planned.entry(&fault.name).or_default();
        ops.push(op.id);
        *installed += u64::from(fault.effect == Some(FaultEffect::Installed));
    }
    for (name, (installed, ops)) in planned {
        findings.count("faults planned", ops.len() as u64);
        findings.count("faults installed", installed);
        if installed == 0 {
            findings.flag(AnomalyKind::FaultNeverInstalled, name, &ops, || {
                format!("planned {} times, never known to have taken effect", ops.len())
            });
        }
    }
    findings
}
