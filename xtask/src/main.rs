//! Chores of the house: `cargo xtask codegen`, `cargo xtask fuzz`, `cargo xtask tidy`, `cargo xtask verify`.

mod codegen;
mod fuzz;
mod nested;
mod tidy;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the house")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Generate Rust from the .proto files, or check that what is committed is up to date.
    Codegen {
        /// Change nothing; fail if anything would change.
        #[arg(long)]
        check: bool,
    },
    /// Check the rules of the house that neither the compiler nor clippy knows.
    Tidy,
    /// Give each decoder a fixed number of inputs, or one of them as many as fit into an hour.
    Fuzz(fuzz::Args),
    /// Run the whole suite, stage by stage, and print what each stage took of its budget.
    Verify(verify::Args),
}

fn main() -> ExitCode {
    let done: Result<()> = match Args::parse().chore {
        Chore::Codegen { check } => codegen::run(check),
        Chore::Tidy => tidy::run(),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Verify(args) => verify::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
