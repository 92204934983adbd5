//! A correct history passes; break it in one place, and the break is found under its right name.
//!
//! There are plants for every anomaly of LOG-1, LOG-2, LOG-3, LOG-4, LOG-5, LOG-6, LOG-7, LOG-8, LOG-9 and CTL-1.
//! Those of subscriptions are planted in `subscriptions_random.rs` and `subscriptions_stories.rs`.

mod correct_log;
mod plants;

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet};

use correct_log::Chance;
use meridian_checker::{AnomalyKind, Options, Promise, Report, Verdict, check};
use meridian_history::{History, Op};
use plants::{Broken, PLANTS};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

fn judge(ops: Vec<Op>) -> Report {
    check(&History::of(ops), &Options::default())
}

#[test]
fn every_anomaly_has_a_plant() {
    let planted: BTreeSet<AnomalyKind> = PLANTS.iter().map(|(kind, ..)| *kind).collect();
    let logs = AnomalyKind::ALL.iter().filter(|kind| !kind.promise().code().starts_with("SUB-"));
    let missing: Vec<&str> = logs.filter(|kind| !planted.contains(kind)).map(|kind| kind.name()).collect();
    assert!(missing.is_empty(), "nobody plants {missing:?}");
}

#[test]
fn a_search_by_windows_passes_what_is_correct_and_finds_what_is_not() {
    let options = Options { search_ops_max: 0, search_window_batches: 6, ..Options::default() };
    let judge = |ops| check(&History::of(ops), &options);
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..100 {
        let correct = correct_log::history(seed);
        let report = judge(correct.clone());
        assert!(report.is_pass(), "seed {seed}: the correct history fails:\n{report}");
        let examined = &report.promises[&Promise::LogSearch].examined;
        assert!(examined["windows searched"] > 2 && examined["operations searched"] > 20, "{report}");
        for (_, what, plant) in PLANTS.iter().filter(|(kind, ..)| *kind == AnomalyKind::NoLegalOrder) {
            let mut broken = Broken { ops: correct.clone() };
            if plant(&mut broken, &mut Chance::of(seed)) {
                let report = judge(broken.ops);
                assert!(report.found(AnomalyKind::NoLegalOrder), "seed {seed}: {what}:\n{report}");
                *found.entry(what).or_default() += 1;
            }
        }
    }
    println!("found by windows: {found:?}");
    assert!(found.len() > 1 && found.values().all(|count| *count > 50), "{found:?}");
}

#[test]
fn every_plant_is_found_under_its_name() {
    let counts: RefCell<BTreeMap<(&str, &str), u64>> = RefCell::default();
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let correct = correct_log::history(seed);
        let report = judge(correct.clone());
        prop_assert!(report.is_pass(), "seed {seed}: the correct history fails:\n{report}");
        for (kind, what, plant) in PLANTS {
            let mut broken = Broken { ops: correct.clone() };
            if !plant(&mut broken, &mut Chance::of(seed ^ 0x5eed)) {
                continue;
            }
            let report = judge(broken.ops);
            let fails = matches!(report.verdict(kind.promise()), Verdict::Fail { .. });
            if !report.found(*kind) || !fails || report.is_pass() || !report.is_fail() {
                return Err(TestCaseError::fail(format!(
                    "seed {seed}: {kind} ({what}) not found:\n{report}"
                )));
            }
            *counts.borrow_mut().entry((kind.name(), what)).or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let counts = counts.into_inner();
    for (kind, what, _) in PLANTS {
        let found = counts.get(&(kind.name(), what)).copied().unwrap_or_default();
        println!("{:<22} planted and found {found:>3} times: {what}", kind.name());
        assert!(found >= 10, "{kind} ({what}) was planted only {found} times");
    }
}
