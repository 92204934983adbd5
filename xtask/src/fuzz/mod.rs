//! `cargo xtask fuzz`: the targets of the room `fuzz/` under libFuzzer. All of them with a fixed number of inputs
//! each, as CI does, or one of them for as long as one likes.

mod build;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::nested;
use report::Report;

/// Where the numbers of the fuzzer begin: the same inputs in every run of the same build.
const SEED: &str = "-seed=1";
/// What no target needs, and what a decoder must stay below: memory in MiB, seconds for one input.
const LIMITS: [&str; 2] = ["-rss_limit_mb=1024", "-timeout=10"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target to run. None: each, with its fixed number of inputs.
    target: Option<String>,
    /// For how long, in minutes.
    #[arg(long, default_value_t = 60, requires = "target")]
    minutes: u64,
    /// Run this input alone: one that an earlier run has found.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
}

/// The built fuzzer, and where it keeps its files.
struct Fuzzer {
    program: PathBuf,
    folder: PathBuf,
    /// Names, and how many inputs CI gives each.
    targets: Vec<(String, u64)>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let fuzzer = Fuzzer::prepare()?;
    match &args.target {
        None => fuzzer.run_all(),
        Some(target) => {
            ensure!(
                fuzzer.targets.iter().any(|(name, _)| name == target),
                "there is no target {target:?}; there are {}",
                fuzzer.targets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            );
            match &args.input {
                Some(input) => fuzzer.repeat(target, input),
                None => fuzzer.run_for(target, args.minutes),
            }
        }
    }
}

impl Fuzzer {
    /// Builds, and writes the seeds anew.
    fn prepare() -> Result<Self> {
        let (program, folder) = build::build()?;
        let seeds = folder.join("seeds");
        if seeds.exists() {
            fs::remove_dir_all(&seeds).with_context(|| format!("empty {}", seeds.display()))?;
        }
        fs::create_dir_all(folder.join("found"))?;
        let listed = Command::new(&program).env("MERIDIAN_FUZZ_SEEDS", &seeds).output();
        let listed = listed.with_context(|| format!("run {}", program.display()))?;
        ensure!(listed.status.success(), "no seeds: {}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).context("names that are not UTF-8")?;
        let targets = listed.lines().map(|line| {
            let (name, inputs) = line.split_once(' ').context("a name and a number")?;
            Ok((name.to_string(), inputs.parse()?))
        });
        Ok(Self { program, folder, targets: targets.collect::<Result<_>>()? })
    }

    fn command(&self, target: &str) -> Command {
        let mut command = nested::command(&self.program.to_string_lossy());
        let found = self.folder.join("found").join(format!("{target}-"));
        command
            .env("MERIDIAN_FUZZ_TARGET", target)
            .arg(format!("-artifact_prefix={}", found.display()))
            .args(LIMITS);
        command
    }

    /// A fixed number of inputs for each target, and a line about each.
    fn run_all(&self) -> Result<()> {
        println!("{}", report::HEADING);
        let mut failed = Vec::new();
        for (target, inputs) in &self.targets {
            let seeds = list(&self.folder.join("seeds").join(target))?;
            let mut command = self.command(target);
            command
                .args([
                    SEED,
                    "-len_control=0",
                    "-print_final_stats=1",
                    &format!("-runs={inputs}"),
                    &format!("-seed_inputs={seeds}"),
                ])
                .stdin(Stdio::null());
            let begun = std::time::Instant::now();
            let ran = command.output().with_context(|| format!("run {target}"))?;
            let said = String::from_utf8_lossy(&ran.stderr);
            match Report::read(&said).filter(|_| ran.status.success()) {
                Some(report) => println!("{}", report.line(target, begun.elapsed())),
                None => {
                    println!("{target:<12} FAILED\n{}", report::ending(&said));
                    failed.push(target.as_str());
                }
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let found = self.folder.join("found");
        bail!(
            "{} failed; the inputs lie in {}: `cargo xtask fuzz TARGET --input FILE` repeats one",
            failed.join(", "),
            found.display()
        )
    }

    /// One target for a while. What leads somewhere new is kept for the next time.
    fn run_for(&self, target: &str, minutes: u64) -> Result<()> {
        let corpus = self.folder.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let mut command = self.command(target);
        command
            .arg(format!("-max_total_time={}", minutes.saturating_mul(60)))
            .arg("-print_final_stats=1")
            .arg(corpus)
            .arg(self.folder.join("seeds").join(target));
        ensure!(command.status()?.success(), "{target} found something: see above");
        Ok(())
    }

    fn repeat(&self, target: &str, input: &Path) -> Result<()> {
        // The command runs in the folder of the workspace, the path is from where this was started.
        let input = fs::canonicalize(input).with_context(|| format!("find {}", input.display()))?;
        ensure!(self.command(target).arg(input).status()?.success(), "{target} still fails");
        Ok(())
    }
}

/// The files of a folder, as libFuzzer wants them.
fn list(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        files.push(entry?.path().to_string_lossy().into_owned());
    }
    files.sort();
    Ok(files.join(","))
}
