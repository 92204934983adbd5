//! The whole suite, stage by stage: what CI runs, and what `make test` runs.
//!
//! A stage that fails fails the run; the others still run, so that one look shows everything. A stage that
//! takes longer than its budget is reported, not failed: machines differ.

mod report;
mod stages;
mod tools;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::nested;
use crate::tidy::root;
use report::{Line, Outcome};
use stages::{STAGES, Stage};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the stage of this name; may be given again.
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// Leave out the stage of this name; may be given again.
    #[arg(long, value_name = "STAGE")]
    skip: Vec<String>,
    /// Stop at the first stage that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Name the stages and their budgets, and run nothing.
    #[arg(long)]
    list: bool,
}

/// Runs the stages asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let unknown = args.only.iter().chain(&args.skip).find(|name| !STAGES.iter().any(|s| s.name == **name));
    if let Some(name) = unknown {
        bail!("there is no stage {name:?}; `cargo xtask verify --list` names them");
    }
    if args.list {
        print!("{}", report::listing(STAGES));
        return Ok(());
    }
    let chosen = |stage: &&Stage| {
        let named = |names: &[String]| names.iter().any(|name| name == stage.name);
        (args.only.is_empty() || named(&args.only)) && !named(&args.skip)
    };
    let mut lines: Vec<Line> = Vec::new();
    for stage in STAGES.iter().filter(chosen) {
        let line = perform(stage)?;
        let failed = line.outcome == Outcome::Failed;
        lines.push(line);
        if failed && args.fail_fast {
            break;
        }
    }
    print!("\n{}", report::table(&lines));
    match lines.iter().filter(|line| line.outcome == Outcome::Failed).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} stages failed", lines.len()),
    }
}

fn perform(stage: &Stage) -> Result<Line> {
    let budget = Duration::from_secs(stage.budget_s);
    let line = |outcome, took| Line { name: stage.name, outcome, took, budget };
    if let Some(tool) = stage.needs
        && !tools::is_there(tool)
    {
        println!("\n== {}: skipped, {tool} is not installed; {}", stage.name, stage.without);
        return Ok(line(Outcome::Skipped, Duration::ZERO));
    }
    let begun = Instant::now();
    let mut outcome = Outcome::Passed;
    for words in stage.work.commands(&root())? {
        println!("\n== {}: {}", stage.name, words.join(" "));
        if !spawn(&words, stage.env)?.success() {
            outcome = Outcome::Failed;
            break;
        }
    }
    Ok(line(outcome, begun.elapsed()))
}

fn spawn(words: &[String], env: &[(&str, &str)]) -> Result<ExitStatus> {
    let (program, args) = words.split_first().context("an empty command")?;
    let mut command = nested::command(program);
    command.args(args).envs(env.iter().copied());
    command.status().with_context(|| format!("run {program}"))
}
