//! Three simulated regions: an origin, a hop and a destination, with everything between them that can go wrong.

mod coverage;
mod image;
mod operation;
mod oracle;
mod receiver;
mod world;

use std::cell::RefCell;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub(super) use self::coverage::Coverage as Counts;
use self::world::World;

/// Random bytes for one step.
pub(super) const TAPE: usize = 14;
/// Steps in the longest schedule.
const STEPS_MAX: usize = 220;
/// How often each operation and precondition must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 10_000;
const CASES: u32 = 80_000;

pub(super) fn tapes() -> impl Strategy<Value = Vec<[u8; TAPE]>> {
    prop::collection::vec(any::<[u8; TAPE]>(), 20..STEPS_MAX)
}

/// One schedule: faults first, then everything heals and must arrive.
pub(super) fn run(tape: &[[u8; TAPE]], counts: &mut Counts) -> Result<(), String> {
    let mut world = World::new();
    for bytes in tape {
        operation::step(&mut world, bytes, counts)?;
        world.check()?;
    }
    world.heal(counts)?;
    world.check_complete(counts)
}

/// GEO-1, GEO-2, GEO-3, GEO-5: whatever is dropped, repeated, reordered, cut, lost by a crash, narrowed, trimmed,
/// rerouted, restored or rolled back, a destination has a true prefix, says what it skipped, and ends complete.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn every_schedule_ships_exactly_once() {
    let asked = std::env::var("MERIDIAN_MODEL_CASES").ok().and_then(|n| n.parse().ok());
    let cases = asked.unwrap_or(CASES);
    let counts = RefCell::new(Counts::default());
    let started = Instant::now();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&tapes(), |tape| run(&tape, &mut counts.borrow_mut()).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{cases} schedules in {:.1} s\n{}", started.elapsed().as_secs_f64(), counts.borrow());
    if cases >= CASES {
        assert_eq!(counts.borrow().rarer_than(OCCURRENCES_MIN), Vec::<String>::new());
    }
}
