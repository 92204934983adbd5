//! Stories of the partition machine, and its check against a model that is plainly right.

mod check;
mod coverage;
mod model;
mod mutants;
mod operation;
mod stories;

use std::cell::RefCell;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::coverage::Coverage;
use super::Bounds;

/// Commands in the longest run.
const STEPS_MAX: usize = 150;
/// How often each precondition must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 10_000;
const CASES: u32 = 50_000;

/// Of no consequence here: nothing of these tests has a subscription.
const BOUNDS: Bounds = super::subscription::SMALL_BOUNDS;

/// Bounds so small that random runs meet every one of them.
const SMALL: Bounds = Bounds {
    producers_max: 5,
    window_batches: 4,
    horizon_ms: 45,
    segment_age_ms: 60,
    forgotten_per_trim_max: 1,
    ..BOUNDS
};

fn tapes() -> impl Strategy<Value = Vec<[u8; 12]>> {
    prop::collection::vec(any::<[u8; 12]>(), 1..STEPS_MAX)
}

/// LOG-3, LOG-4, LOG-5, LOG-6, LOG-9 in one replica: whatever is proposed, outcomes, offsets, chain, segments
/// and log start are those of the model, and the machine restored from its rows is the machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn the_machine_does_what_the_model_does() {
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
