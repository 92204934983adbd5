//! Building with coverage watched: the whole tree of the fuzz room once more, in a folder of its own, because every
//! crate is compiled with other flags. The room does without RocksDB, so that this takes seconds and not minutes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::nested;
use crate::tidy::root;

/// What libFuzzer wants to know: which edges were taken, how often, and what was compared with what. Named with
/// `-C` instead of `-Z`, so that a stable compiler takes them.
const WATCHED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the fuzzer. Returns the program, and the folder for everything of fuzzing.
pub(super) fn build() -> Result<(PathBuf, PathBuf)> {
    let host = host()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = root().join(target).join("fuzz");
    // Joined to what `.cargo/config.toml` says. With a target named, build scripts and macros do without.
    let flags = WATCHED.map(|flag| format!("{flag:?}")).join(",");
    let mut command = nested::command("cargo");
    command
        .args(["build", "--package", "meridian-fuzz", "--features", "libfuzzer", "--bin", "meridian-fuzz"])
        .args(["--config", &format!("target.{host}.rustflags=[{flags}]"), "--target", &host, "--target-dir"])
        .arg(&folder)
        .env_remove("RUSTFLAGS");
    ensure!(command.status().context("run cargo")?.success(), "the fuzzer does not build");
    Ok((folder.join(&host).join("debug/meridian-fuzz"), folder))
}

/// The machine that this runs on, as the compiler calls it.
fn host() -> Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("run rustc")?.stdout;
    let said = String::from_utf8(said).context("a host that is not UTF-8")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_string())
}
