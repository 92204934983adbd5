//! The check is worth something: every fault planted in the dispatcher is seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::coverage::Coverage;
use super::{run, tapes};
use crate::{Mutant, with_mutant};

const CASES_MAX: u32 = 6_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn every_planted_fault_is_seen() {
    let mut unseen = Vec::new();
    for mutant in Mutant::ALL {
        let started = Instant::now();
        match with_mutant(mutant, first_failure) {
            Some((case, why)) => {
                let at = why.find("SUB-").unwrap_or(0);
                let why: String = why[at..].chars().take(90).collect();
                println!("{mutant:?}: case {case}, {:.1} ms: {why}", started.elapsed().as_secs_f64() * 1e3);
            }
            None => unseen.push(mutant),
        }
    }
    assert_eq!(unseen, Vec::new(), "not seen within {CASES_MAX} cases");
}

#[test]
fn without_a_fault_the_same_cases_pass() {
    assert_eq!(first_failure(), None);
}

fn first_failure() -> Option<(u32, String)> {
    let mut runner = TestRunner::deterministic();
    let mut met = Coverage::default();
    (1..=CASES_MAX).find_map(|case| {
        let tape = tapes().new_tree(&mut runner).expect("a tape").current();
        let run = catch_unwind(AssertUnwindSafe(|| run::run(&tape, &mut met)));
        let failure = run.unwrap_or_else(|_| Err("panicked".into()));
        failure.err().map(|why| (case, why))
    })
}
