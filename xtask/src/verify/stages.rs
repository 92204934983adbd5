//! The stages, in the order in which they run: cheap ones first. To add a stage, add a row to [`STAGES`].

use std::fs;
use std::path::Path;

use anyhow::Result;

/// One stage of the suite.
pub(super) struct Stage {
    /// What `--only` and `--skip` call it.
    pub(super) name: &'static str,
    /// What it may take on two cores, in seconds, with compiler caches warm.
    pub(super) budget_s: u64,
    /// What it runs.
    pub(super) work: Work,
    /// Variables for its commands.
    pub(super) env: &'static [(&'static str, &'static str)],
    /// A tool without which it is skipped.
    pub(super) needs: Option<&'static str>,
    /// What stands in for it when it is skipped.
    pub(super) without: &'static str,
}

/// What a stage runs.
pub(super) enum Work {
    /// One command.
    Run(&'static [&'static str]),
    /// The tests of every package but the simulator and the harness, then the examples in the documentation.
    Tests,
    /// The tests of the simulator; then its negative controls, for which faults are compiled into the machine.
    Simulation,
    /// The tests of the harness: real processes, ports and disks, so one at a time.
    ProcessTests,
}

const PLAIN: Stage =
    Stage { name: "", budget_s: 0, work: Work::Run(&[]), env: &[], needs: None, without: "" };
const HARNESS: &str = "jepsen/harness";
const SIMULATOR: &str = "jepsen/sim";
/// The test of the simulator that plants faults, and the feature that lets it plant them in the machine too.
const CONTROLS: &str = "planted";
const MUTANTS: &str = "meridian-sim/mutants";

/// Every stage.
pub(super) const STAGES: &[Stage] = &[
    Stage { name: "format", budget_s: 10, work: Work::Run(&["cargo", "fmt", "--all", "--check"]), ..PLAIN },
    Stage {
        name: "codegen",
        budget_s: 20,
        work: Work::Run(&["cargo", "xtask", "codegen", "--check"]),
        ..PLAIN
    },
    Stage { name: "tidy", budget_s: 10, work: Work::Run(&["cargo", "xtask", "tidy"]), ..PLAIN },
    Stage {
        name: "deny",
        budget_s: 15,
        work: Work::Run(&["cargo", "deny", "check", "bans", "licenses", "sources"]),
        needs: Some("cargo-deny"),
        without: "tidy checks the walls, nobody checks licences and sources (`make deny` installs it)",
        ..PLAIN
    },
    Stage {
        name: "clippy",
        budget_s: 180,
        work: Work::Run(&["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ..PLAIN
    },
    Stage {
        name: "docs",
        budget_s: 60,
        work: Work::Run(&["cargo", "doc", "--workspace", "--no-deps", "--lib"]),
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        ..PLAIN
    },
    Stage {
        name: "build",
        budget_s: 240,
        work: Work::Run(&["cargo", "build", "--workspace", "--all-targets"]),
        ..PLAIN
    },
    // Regions mostly wait, for leases and for disks: on two cores four tests at a time take little more than half as
    // long as two.
    Stage { name: "tests", budget_s: 180, work: Work::Tests, env: &[("RUST_TEST_THREADS", "4")], ..PLAIN },
    Stage { name: "fuzz", budget_s: 120, work: Work::Run(&["cargo", "xtask", "fuzz"]), ..PLAIN },
    Stage { name: "simulation", budget_s: 300, work: Work::Simulation, ..PLAIN },
    Stage { name: "processes", budget_s: 480, work: Work::ProcessTests, ..PLAIN },
];

impl Work {
    /// The commands, word by word. Always for the whole workspace: with packages chosen one by one cargo would
    /// choose other features of their dependencies, and compile those again.
    pub(super) fn commands(&self, root: &Path) -> Result<Vec<Vec<String>>> {
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        match self {
            Work::Run(command) => Ok(vec![words(command)]),
            Work::Tests => {
                let mut tests = words(&["cargo", "test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
                for name in test_names(root, |folder| folder != HARNESS && folder != SIMULATOR)? {
                    tests.extend(["--test".to_string(), name]);
                }
                Ok(vec![tests, words(&["cargo", "test", "--workspace", "--doc"])])
            }
            Work::Simulation => {
                let names = test_names(root, |folder| folder == SIMULATOR)?;
                let mut seeds = words(&["cargo", "test", "--workspace", "--no-fail-fast"]);
                for name in names.iter().filter(|name| *name != CONTROLS) {
                    seeds.extend(["--test".to_string(), name.clone()]);
                }
                seeds.extend(words(&["--", "--nocapture"]));
                let controls = [
                    "cargo",
                    "test",
                    "--workspace",
                    "--features",
                    MUTANTS,
                    "--test",
                    CONTROLS,
                    "--",
                    "--nocapture",
                ];
                Ok(vec![seeds, words(&controls)])
            }
            Work::ProcessTests => {
                let names = test_names(root, |folder| folder == HARNESS)?;
                let mut tests = words(&["cargo", "test", "--workspace", "--no-fail-fast"]);
                tests.extend(names.iter().flat_map(|name| ["--test".to_string(), name.clone()]));
                tests.extend(words(&["--", "--test-threads=1"]));
                Ok(if names.is_empty() { Vec::new() } else { vec![tests] })
            }
        }
    }
}

/// Names of the integration tests of the packages whose folder is wanted.
fn test_names(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in members(root)?.iter().filter(|folder| wanted(folder)) {
        let Ok(entries) = fs::read_dir(root.join(folder).join("tests")) else { continue };
        for entry in entries {
            let path = entry?.path();
            let is_test = path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").exists();
            if let (true, Some(name)) = (is_test, path.file_stem().and_then(|stem| stem.to_str())) {
                names.push(name.to_string());
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn members(root: &Path) -> Result<Vec<String>> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members")?.as_array());
    Ok(members.into_iter().flatten().filter_map(|member| Some(member.as_str()?.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::root;

    #[test]
    fn names_are_different_and_every_stage_has_a_budget() {
        let mut names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STAGES.len());
        assert!(STAGES.iter().all(|stage| stage.budget_s > 0 && !stage.name.is_empty()));
    }

    #[test]
    fn real_processes_run_one_at_a_time_and_they_and_seeds_run_nowhere_else() {
        let all = test_names(&root(), |_| true).expect("reads");
        let harness = test_names(&root(), |folder| folder == HARNESS).expect("reads");
        let others = test_names(&root(), |folder| folder != HARNESS).expect("reads");
        let simulated = test_names(&root(), |folder| folder == SIMULATOR).expect("reads");
        let rest = test_names(&root(), |folder| folder != SIMULATOR).expect("reads");
        assert!(simulated.contains(&CONTROLS.to_string()), "{simulated:?}");
        assert!(
            simulated.iter().all(|name| !rest.contains(name)),
            "two packages have a test of the same name"
        );
        assert!(all.contains(&"planted_is_found".to_string()), "{all:?}");
        assert!(
            harness.iter().all(|name| !others.contains(name)),
            "two packages have a test of the same name"
        );
        for command in Work::ProcessTests.commands(&root()).expect("reads") {
            assert_eq!(command.last().map(String::as_str), Some("--test-threads=1"));
        }
    }
}
