//! A seed is worth something only if it always does the same: the same hash in separate processes, another for
//! another seed.

use std::path::Path;

use meridian_sim::{Outcome, Spec, run_apart};

fn run_in_a_process_of_its_own(seed: u64) -> Outcome {
    let spec = Spec { seconds: 8, ..Spec::new(seed) };
    run_apart(Path::new(env!("CARGO_BIN_EXE_meridian-sim")), &spec).expect("the binary starts")
}

#[test]
fn a_seed_does_the_same_in_two_processes_and_two_seeds_do_not() {
    let hashes: Vec<String> = (1..=3)
        .map(|seed| {
            let (first, again) = (run_in_a_process_of_its_own(seed), run_in_a_process_of_its_own(seed));
            assert!(first.records > 10_000, "seed {seed} leaves next to no trace: {first}");
            assert_eq!(
                (&first.hash, first.records),
                (&again.hash, again.records),
                "seed {seed} did two things"
            );
            println!("seed {seed}: {} over {} records, twice", first.hash, first.records);
            first.hash
        })
        .collect();
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "two seeds did the same: {hashes:?}");
}
