//! Building with coverage watched: the crates of the workspace once more, with the libraries of every other build.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::nested;
use crate::tidy::root;

/// Stands before the compiler, and adds what makes it count edges.
const WATCHED: &str = "fuzz/watched.sh";

/// Builds the fuzzer. Returns the program, and the folder for everything of fuzzing.
pub(super) fn build() -> Result<(PathBuf, PathBuf)> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = root().join(target);
    let mut command = nested::command("cargo");
    // For the whole workspace, as every stage: other features of the libraries would compile them again.
    command
        .args(["build", "--workspace", "--bin", "meridian-fuzz", "--features", "meridian-fuzz/libfuzzer"])
        .env("RUSTC_WORKSPACE_WRAPPER", root().join(WATCHED))
        // A compiler cache would ask the wrapper what compiler it is.
        .env("RUSTC_WRAPPER", "");
    ensure!(command.status().context("run cargo")?.success(), "the fuzzer does not build");
    Ok((target.join("debug/meridian-fuzz"), target.join("fuzz")))
}
