//! What was not examined, not finished or not decided in time is never a pass.

mod correct_log;

use std::time::Duration;

use meridian_checker::{AnomalyKind, Options, Promise, Report, Verdict, check};
use meridian_history::*;

const SEED: u64 = 11;

fn judge(ops: Vec<Op>) -> Report {
    check(&History::of(ops), &Options::default())
}

fn why(report: &Report, promise: Promise) -> String {
    match report.verdict(promise) {
        Verdict::Unknown { why } => why.join("; "),
        other => panic!("{promise} is {other:?}"),
    }
}

#[test]
fn an_empty_history_is_unknown() {
    let report = judge(vec![]);
    assert!(!report.is_pass() && !report.is_fail());
    assert!(why(&report, Promise::Log1).contains("nothing was examined"));
    assert_eq!(*report.verdict(Promise::Ctl1), Verdict::Idle);
    assert!(report.to_string().ends_with("UNKNOWN, which is not a pass\n"));
}

#[test]
fn without_an_ack_nothing_passes_whatever_is_demanded() {
    let mut ops = correct_log::history(SEED);
    ops.retain(|op| matches!(op.kind, Kind::Control(_)));
    let options = Options { demanded: [Promise::Ctl1].into(), ..Options::default() };
    let report = check(&History::of(ops), &options);
    assert_eq!(*report.verdict(Promise::Ctl1), Verdict::Pass);
    assert_eq!(report.acked_messages, 0);
    assert!(!report.is_pass());
}

#[test]
fn a_demand_turns_idle_into_unknown() {
    let mut ops = correct_log::history(SEED);
    ops.retain(|op| !matches!(op.kind, Kind::Control(_)));
    let report = judge(ops.clone());
    assert!(report.is_pass(), "{report}");
    assert_eq!(*report.verdict(Promise::Ctl1), Verdict::Idle);
    let report = check(&History::of(ops), &Options::default().demanding(Promise::Ctl1));
    assert!(why(&report, Promise::Ctl1).contains("no metadata answers"));
    assert!(!report.is_pass());
}

#[test]
fn a_history_cut_short_is_unknown() {
    let history = History { complete: false, ..History::of(correct_log::history(SEED)) };
    let report = check(&history, &Options::default());
    assert!(why(&report, Promise::Run).contains("cut short"));
    assert!(!report.is_pass() && !report.is_fail());
}

#[test]
fn a_malformed_history_is_unknown() {
    type Damage = fn(&mut Op);
    let damages: [(&str, Damage); 3] = [
        ("ends before it begins", |op| op.complete_ns = Some(0)),
        ("ok but has no end", |op| (op.complete_ns, op.outcome) = (None, Outcome::Ok)),
        ("appears twice", |op| op.id = 1),
    ];
    for (said, damage) in damages {
        let mut ops = correct_log::history(SEED);
        damage(&mut ops[100]);
        let report = judge(ops);
        assert!(why(&report, Promise::Run).contains(said), "{report}");
        assert!(!report.is_pass());
    }
}

#[test]
fn without_final_scans_durability_is_unknown() {
    let mut ops = correct_log::history(SEED);
    ops.retain(|op| !matches!(op.kind, Kind::FinalRead(_)));
    let report = judge(ops);
    assert!(why(&report, Promise::Log1).contains("no final scan followed"));
    assert!(why(&report, Promise::Log2).contains("no final scan after the last heal"));
}

#[test]
fn scans_before_the_heal_do_not_count() {
    let mut ops = correct_log::history(SEED);
    for op in &mut ops {
        if let Kind::Fault(Fault { phase: FaultPhase::Healed, .. }) = op.kind {
            (op.invoke_ns, op.complete_ns) = (90_000, Some(90_005));
        }
    }
    let report = judge(ops);
    assert!(why(&report, Promise::Log2).contains("n1 was not scanned after the last heal"));
}

#[test]
fn an_ack_after_the_scan_is_unknown() {
    let mut ops = correct_log::history(SEED);
    let acked = ops.iter_mut().rfind(|op| op.is_ok() && matches!(op.kind, Kind::Publish(_)));
    acked.unwrap().complete_ns = Some(90_000);
    let report = judge(ops);
    assert!(why(&report, Promise::Log1).contains("no final scan followed"));
    assert!(why(&report, Promise::Log2).contains("acks after the final scan"));
}

#[test]
fn a_search_without_time_is_unknown() {
    let options = Options { search_total_max: Duration::ZERO, ..Options::default() };
    let report = check(&History::of(correct_log::history(SEED)), &options);
    assert!(why(&report, Promise::Ctl1).contains("ran out of time"));
    assert!(why(&report, Promise::LogSearch).contains("ran out of time"));
    assert!(!report.is_pass() && !report.is_fail());
}

/// Updates of unknown outcome, then three readings in a row: `v1`, `v2`, and `v1` again. Each was written
/// once, so there is no legal order; but to know that, the search must try the others in between.
fn back_and_forth(unknown: u64) -> Vec<Op> {
    let op =
        |id: u64, times: (u64, Option<u64>), op: ControlOp, value: &str, answer: Option<ControlAnswer>| Op {
            id,
            process: id,
            invoke_ns: times.0,
            complete_ns: times.1,
            outcome: if times.1.is_some() { Outcome::Ok } else { Outcome::Info },
            why: None,
            kind: Control {
                op,
                key: "x".into(),
                value: op.is_write().then(|| value.to_owned()),
                answer: answer.map(|answer| (answer, times.0)),
            }
            .into(),
        };
    let mut ops = vec![op(0, (1, Some(2)), ControlOp::Create, "v0", Some(ControlAnswer::Done))];
    ops.extend((1..=unknown).map(|id| op(id, (10, None), ControlOp::Update, &format!("v{id}"), None)));
    for (nth, seen) in (1..).zip(["v1", "v2", "v1"]) {
        let (id, times) = (unknown + nth, (100 * nth, Some(100 * nth + 50)));
        ops.push(op(id, times, ControlOp::Describe, "", Some(ControlAnswer::Value(seen.to_owned()))));
    }
    ops
}

#[test]
fn the_search_finds_what_the_replay_lets_pass() {
    let report = judge(back_and_forth(3));
    assert!(report.found(AnomalyKind::NotLinearizable), "{report}");
    assert_eq!(report.totals().len(), 1, "{report}");
}

#[test]
fn a_search_that_runs_out_of_time_is_unknown() {
    let options = Options { search_each_max: Duration::from_millis(50), ..Options::default() };
    let report = check(&History::of(back_and_forth(60)), &options);
    assert!(why(&report, Promise::Ctl1).contains("ran out of time"), "{report}");
    assert!(!report.is_pass() && !report.is_fail());
}

#[test]
fn large_partitions_are_left_to_sorting_and_counted() {
    let options = Options { search_ops_max: 3, search_window_batches: 0, ..Options::default() };
    let history = History::of(correct_log::history(SEED));
    let report = check(&history, &options);
    assert!(report.is_pass(), "{report}");
    assert_eq!(*report.verdict(Promise::LogSearch), Verdict::Idle);
    assert_eq!(report.promises[&Promise::LogSearch].examined["partitions too large to search"], 1);
    assert!(!check(&history, &options.demanding(Promise::LogSearch)).is_pass());
}
