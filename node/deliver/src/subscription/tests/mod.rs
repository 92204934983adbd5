//! The dispatcher in random circumstances, judged by its promises; and stories of what it refuses.

mod answers;
mod bad;
mod client;
mod coverage;
mod inside;
mod judge;
mod mutants;
mod operation;
mod replica;
mod run;
mod speech;
mod world;

use std::cell::RefCell;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::coverage::Coverage;
use self::run::Cell;

/// What happens in the longest run.
const STEPS_MAX: usize = 240;
/// How often each operation and each circumstance must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 10_000;
const CASES: u32 = 64_000;

fn tapes() -> impl Strategy<Value = Vec<Cell>> {
    prop::collection::vec(any::<Cell>(), 1..STEPS_MAX)
}

/// SUB-1 to SUB-6 in one partition: whatever consumers say, whatever fails, however often leaders change.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn the_dispatcher_keeps_its_promises() {
    let asked = std::env::var("MERIDIAN_MODEL_CASES").ok().and_then(|n| n.parse().ok());
    let cases = asked.unwrap_or(CASES);
    let started = Instant::now();
    let halves: Vec<Coverage> = std::thread::scope(|scope| {
        let halves = [cases / 2, cases - cases / 2].map(|cases| scope.spawn(move || check(cases)));
        halves.into_iter().map(|half| half.join().expect("ran to its end")).collect()
    });
    let coverage = halves.into_iter().reduce(Coverage::and).unwrap_or_default();
    println!("{cases} cases in {:.1} s\n{}", started.elapsed().as_secs_f64(), coverage);
    if cases >= CASES {
        assert_eq!(coverage.rarer_than(OCCURRENCES_MIN), Vec::<String>::new());
    }
}

fn check(cases: u32) -> Coverage {
    let coverage = RefCell::new(Coverage::default());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&tapes(), |tape| run::run(&tape, &mut coverage.borrow_mut()).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    coverage.into_inner()
}
