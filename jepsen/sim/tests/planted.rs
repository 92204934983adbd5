//! The simulation is believed because it sees a server that is wrong: each planted fault is found, and how many
//! seeds that takes is told.

use std::path::Path;

use meridian_sim::{Plant, Spec, run_apart};

/// Seeds within which a planted fault must be found.
const WITHIN: u64 = 12;

/// Runs seeds until one shows the anomaly, and says how many it took.
fn seeds_until(plant: Plant, anomalies: &[&str]) -> u64 {
    let program = Path::new(env!("CARGO_BIN_EXE_meridian-sim"));
    for seed in 0..WITHIN {
        let outcome = run_apart(program, &Spec::new(seed).planting(plant)).expect("the binary starts");
        if anomalies.iter().any(|anomaly| outcome.found(anomaly)) {
            assert!(!outcome.pass, "an anomaly passed: {outcome}");
            println!("{plant}: found with seed {seed}, the {}. tried: {:?}", seed + 1, outcome.anomalies);
            return seed + 1;
        }
        println!("{plant}: not with seed {seed}: {:?}", outcome.anomalies);
    }
    panic!("{plant} was not found within {WITHIN} seeds");
}

#[test]
fn disks_that_lie_about_syncing_lose_messages() {
    seeds_until(Plant::LyingDisks, &["lost"]);
}

#[test]
fn an_end_that_no_quorum_confirmed_is_stale() {
    seeds_until(Plant::UnconfirmedEnd, &["stale-end"]);
}

#[cfg(feature = "mutants")]
mod machine {
    use meridian_sim::Plant;

    use super::seeds_until;

    fn machine(name: &str) -> Plant {
        name.parse().expect("a fault of the machine")
    }

    #[test]
    fn a_machine_without_deduplication_stores_messages_twice() {
        seeds_until(machine("StoresDuplicate"), &["duplicate"]);
    }

    #[test]
    fn a_machine_without_fencing_lets_zombies_write() {
        seeds_until(machine("StoresStaleEpoch"), &["zombie", "nonmonotonic-send", "seq-gap"]);
    }

    #[test]
    fn a_duplicate_that_takes_offsets_is_seen() {
        seeds_until(
            machine("DuplicateTakesOffsets"),
            &["poll-skip", "lost", "unseen", "inconsistent-offset"],
        );
    }
}
