//! Stories of subscriptions, and their check against a model that is plainly right.

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
use super::SMALL_BOUNDS;
use crate::partition::Bounds;

/// Commands in the longest run.
const STEPS_MAX: usize = 155;
/// How often each operation and precondition must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 10_000;
const CASES: u32 = 43_000;
/// Random bytes for one command.
const CELL: usize = 40;

/// Segments are closed by entries alone here.
const SMALL: Bounds = Bounds { segment_age_ms: 1 << 40, ..SMALL_BOUNDS };

/// Every run has one of these: many subscriptions, one that is always at a bound, one that comes far.
const ROOMS: [Bounds; 3] = [
    SMALL,
    Bounds {
        subscriptions_max: 1,
        dropped_max: 1,
        settled_ranges_max: 1,
        settled_delayed_max: 1,
        attempts_max: 1,
        dead_letters_max: 2,
        destinations_max: 1,
        ..SMALL
    },
    Bounds {
        subscriptions_max: 1,
        dropped_max: 1,
        settled_ranges_max: 9,
        settled_delayed_max: 9,
        attempts_max: 9,
        dead_letters_max: 9,
        ..SMALL
    },
];

fn tapes() -> impl Strategy<Value = Vec<[u8; CELL]>> {
    prop::collection::vec(any::<[u8; CELL]>(), 1..STEPS_MAX)
}

/// SUB-1, SUB-2, SUB-3, SUB-6 as far as one replica decides them: whatever is proposed, what is settled, tried, owned,
/// on its way and trimmed is what the model says, and the machine restored from its rows is the machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn subscriptions_do_what_the_model_does() {
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
