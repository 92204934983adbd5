//! Whatever a correct queue does is no anomaly; broken in one place, each break is found under its own name.
//!
//! Judges SUB-1, SUB-2, SUB-3, SUB-4, SUB-5 and SUB-6 on histories of a reference queue.

mod queue;
mod queue_plants;

use std::collections::{BTreeMap, BTreeSet};

use meridian_checker::{AnomalyKind, Options, Promise, Report, Verdict, check};
use meridian_history::{History, Op};
use queue::Chance;
use queue_plants::{Broken, PLANTS};

/// Each anomaly is planted and found at least so often.
const EACH_MIN: u64 = 1_000;
const LEGAL: u64 = 10_000;
const SUBS: [Promise; 6] =
    [Promise::Sub1, Promise::Sub2, Promise::Sub3, Promise::Sub4, Promise::Sub5, Promise::Sub6];

fn judge(ops: Vec<Op>) -> Report {
    let demanded = [Promise::Run, Promise::Sub1].into();
    check(&History::of(ops), &Options { demanded, search_ops_max: 0, ..Options::default() })
}

#[test]
fn every_anomaly_has_a_plant() {
    let planted: BTreeSet<AnomalyKind> = PLANTS.iter().map(|(kind, ..)| *kind).collect();
    let all = AnomalyKind::ALL.iter().filter(|kind| SUBS.contains(&kind.promise()));
    let missing: Vec<&str> = all.filter(|kind| !planted.contains(kind)).map(|kind| kind.name()).collect();
    assert!(missing.is_empty(), "nobody plants {missing:?}");
}

#[test]
fn whatever_a_correct_queue_does_is_no_anomaly() {
    let mut examined: BTreeMap<(Promise, &str), u64> = BTreeMap::new();
    let mut passed: BTreeMap<Promise, u64> = BTreeMap::new();
    let mut alarms: Vec<String> = Vec::new();
    for seed in 0..LEGAL {
        let report = judge(queue::history(seed));
        for promise in SUBS {
            match report.verdict(promise) {
                Verdict::Pass => *passed.entry(promise).or_default() += 1,
                Verdict::Idle => {}
                other => alarms.push(format!("seed {seed}: {promise} is {other:?}")),
            }
            for (what, count) in &report.promises[&promise].examined {
                *examined.entry((promise, what)).or_default() += count;
            }
        }
    }
    assert!(alarms.is_empty(), "{} false alarms:\n{}", alarms.len(), alarms.join("\n"));
    println!("{LEGAL} legal histories, no alarm; passes: {passed:?}");
    examined.iter().for_each(|((promise, what), count)| println!("{promise:<8} {count:>9} {what}"));
    for promise in SUBS {
        let passes = passed.get(&promise).copied().unwrap_or_default();
        assert!(passes >= LEGAL / 10, "{promise} passed only {passes} times");
    }
}

#[test]
fn every_plant_is_found_under_its_name() {
    let mut planted: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0.. {
        let least = PLANTS.iter().map(|(_, what, _)| planted.get(what).copied().unwrap_or_default()).min();
        if least >= Some(EACH_MIN) {
            break;
        }
        assert!(seed < 20 * LEGAL, "some plants are too rare: {planted:?}");
        let legal = queue::history(LEGAL + seed);
        for (kind, what, plant) in PLANTS {
            if planted.get(what).is_some_and(|count| *count >= EACH_MIN) {
                continue;
            }
            let mut broken = Broken { ops: legal.clone() };
            if plant(&mut broken, &mut Chance::of(seed ^ 0x5eed)) {
                let report = judge(broken.ops);
                assert!(report.found(*kind), "seed {}: {kind} ({what}) not found:\n{report}", LEGAL + seed);
                assert!(report.is_fail() && !report.is_pass());
                *planted.entry(what).or_default() += 1;
            }
        }
    }
    for (kind, what, _) in PLANTS {
        println!("{:<22} planted and found {:>5} times: {what}", kind.name(), planted[what]);
    }
}
