//! Every seed passes. `MERIDIAN_SIM_SEEDS` says how many (`200`) or which (`1000..1100`).

use std::ops::Range;
use std::path::Path;

use meridian_sim::{Outcome, Spec, sweep};

const SEEDS: u64 = 60;

fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("MERIDIAN_SIM_SEEDS") else { return 0..SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("MERIDIAN_SIM_SEEDS is a number or FIRST..END");
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&asked),
    }
}

#[test]
fn a_region_keeps_its_promises_under_every_seed() {
    let specs: Vec<Spec> = seeds().map(Spec::new).collect();
    println!("{}", Outcome::table_head());
    let program = Path::new(env!("CARGO_BIN_EXE_meridian-sim"));
    let (outcomes, summary) =
        sweep(program, &specs, |outcome| println!("{outcome}")).expect("every seed runs");
    println!("\n{summary}");
    let failed: Vec<String> = outcomes.iter().filter(|outcome| !outcome.pass).map(Outcome::rerun).collect();
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(summary.runs, specs.len() as u64);
    if summary.runs >= SEEDS {
        for kind in [
            "partition",
            "bridge",
            "mute",
            "deaf",
            "hold",
            "slow-link",
            "kill",
            "power-loss",
            "power-loss-all",
        ] {
            assert!(summary.faults.contains_key(kind), "no run installed the fault {kind}");
        }
        assert!(summary.consuming >= SEEDS / 4, "too few seeds with a subscription: {}", summary.consuming);
        assert!(summary.elections > summary.runs, "faults that cause no elections are no faults");
    }
}
