//! Random operations: every reply and every state is the model's, and every fault planted is seen (CTL-1).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::check;
use super::coverage::Coverage;
use crate::{Mutant, with_mutant};

/// Commands in the longest run.
const STEPS_MAX: usize = 280;
const CASES: u32 = 60_000;
/// How often each operation and each condition must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 10_000;
/// Cases within which a planted fault must be seen.
const PLANTED_CASES_MAX: u32 = 400;

/// One number for each command: its bytes are the dice.
fn tapes() -> impl Strategy<Value = Vec<u128>> {
    prop::collection::vec(any::<u128>(), 1..STEPS_MAX)
}

/// CTL-1 in one replica: whatever is proposed, reply and state are those of the model, and the machine
/// restored from its rows goes on as the machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn random_operations_are_judged_as_the_model_judges_them() {
    let asked = std::env::var("MERIDIAN_MODEL_CASES").ok().and_then(|n| n.parse().ok());
    let cases = asked.unwrap_or(CASES);
    let coverage = RefCell::new(Coverage::default());
    let started = Instant::now();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&tapes(), |tape| check::run(&tape, &mut coverage.borrow_mut()).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{cases} cases in {:.1} s\n{}", started.elapsed().as_secs_f64(), coverage.borrow());
    if cases >= CASES {
        assert_eq!(coverage.borrow().rarer_than(OCCURRENCES_MIN), Vec::<String>::new());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn every_fault_planted_in_the_control_machine_is_seen() {
    let mut unseen = Vec::new();
    for mutant in Mutant::CONTROL {
        let started = Instant::now();
        match with_mutant(mutant, first_failure) {
            Some((case, why)) => {
                let why: String = why.split("}: ").last().unwrap_or_default().chars().take(90).collect();
                println!("{mutant:?}: case {case}, {:.1} ms: {why}", started.elapsed().as_secs_f64() * 1e3);
            }
            None => unseen.push(mutant),
        }
    }
    assert_eq!(unseen, Vec::new(), "not seen within {PLANTED_CASES_MAX} cases");
}

#[test]
fn without_a_fault_the_same_cases_of_the_control_machine_pass() {
    assert_eq!(first_failure(), None);
}

fn first_failure() -> Option<(u32, String)> {
    let mut runner = TestRunner::deterministic();
    let mut met = Coverage::default();
    (1..=PLANTED_CASES_MAX).find_map(|case| {
        let tape = tapes().new_tree(&mut runner).expect("a tape").current();
        let run = catch_unwind(AssertUnwindSafe(|| check::run(&tape, &mut met)));
        let failure = run.unwrap_or_else(|_| Err("panicked".into()));
        failure.err().map(|why| (case, why))
    })
}
