//! Gives one target to libFuzzer: the one that `MERIDIAN_FUZZ_TARGET` names. `cargo xtask fuzz` starts it.
//!
//! With `MERIDIAN_FUZZ_SEEDS`, a folder, it writes the seeds of every target there instead, and says how many inputs
//! CI gives each.
#![no_main]

use std::fs;
use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use meridian_fuzz::{TARGETS, Target, targets};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: choose(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.check)(input);
    }
});

fn choose() {
    if let Some(folder) = std::env::var_os("MERIDIAN_FUZZ_SEEDS") {
        let written = TARGETS.iter().try_for_each(|target| write_seeds(Path::new(&folder), target));
        exit(written.map_or_else(|error| complain(&error.to_string()), |()| 0));
    }
    let name = std::env::var("MERIDIAN_FUZZ_TARGET").unwrap_or_default();
    match targets::find(&name) {
        Some(target) => {
            let _ = TARGET.set(target);
        }
        None => exit(complain(&format!("there is no target {name:?}"))),
    }
}

fn complain(why: &str) -> i32 {
    eprintln!("{why}");
    2
}

fn write_seeds(folder: &Path, target: &Target) -> std::io::Result<()> {
    let folder = folder.join(target.name);
    fs::create_dir_all(&folder)?;
    for (seed, number) in (target.seeds)().into_iter().zip(0..) {
        fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    println!("{} {}", target.name, target.inputs);
    Ok(())
}
