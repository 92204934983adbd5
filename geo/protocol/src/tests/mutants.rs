//! The checks are worth something: every fault planted in the protocol is seen.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{acks, shipping};
use crate::{Mutant, with_mutant};

const CASES_MAX: u32 = 2_000;

#[test]
fn every_fault_planted_in_shipping_is_seen() {
    let run = |tape: &Vec<[u8; shipping::TAPE]>| shipping::run(tape, &mut shipping::Counts::default());
    all_seen(&Mutant::SHIPPING, shipping::tapes(), run);
}

#[test]
fn every_fault_planted_in_acks_is_seen() {
    let run = |tape: &Vec<[u8; 8]>| acks::run(tape, &mut acks::Coverage::default());
    all_seen(&Mutant::ACKS, acks::tapes(), run);
}

#[test]
fn without_a_fault_the_same_cases_pass() {
    let run = |tape: &Vec<[u8; shipping::TAPE]>| shipping::run(tape, &mut shipping::Counts::default());
    assert_eq!(first_failure(&shipping::tapes(), &run), None);
    let run = |tape: &Vec<[u8; 8]>| acks::run(tape, &mut acks::Coverage::default());
    assert_eq!(first_failure(&acks::tapes(), &run), None);
}

#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn all_seen<T: Debug>(
    mutants: &[Mutant],
    tapes: impl Strategy<Value = T>,
    run: impl Fn(&T) -> Result<(), String>,
) {
    let mut unseen = Vec::new();
    for mutant in mutants {
        let started = Instant::now();
        match with_mutant(*mutant, || first_failure(&tapes, &run)) {
            Some((case, why)) => {
                let why: String = why.chars().take(110).collect();
                println!("{mutant:?}: case {case}, {:.1} ms: {why}", started.elapsed().as_secs_f64() * 1e3);
            }
            None => unseen.push(*mutant),
        }
    }
    assert_eq!(unseen, Vec::new(), "not seen within {CASES_MAX} cases");
}

fn first_failure<T: Debug>(
    tapes: &impl Strategy<Value = T>,
    run: &impl Fn(&T) -> Result<(), String>,
) -> Option<(u32, String)> {
    let mut runner = TestRunner::deterministic();
    (1..=CASES_MAX).find_map(|case| {
        let tape = tapes.new_tree(&mut runner).expect("a tape").current();
        let ran = catch_unwind(AssertUnwindSafe(|| run(&tape)));
        let failure = ran.unwrap_or_else(|_| Err("panicked".into()));
        failure.err().map(|why| (case, why))
    })
}
