//! Measuring: how fast a cluster takes messages in, and what its machine could do at most.
//!
//! `publish` loads a cluster and, if asked, checks every message afterwards. `floor` measures the parts that an
//! ack is made of (disk, loopback, storage engine) without a cluster, on the same disk and in the same minute.
//!
//! Exit codes: 0 done, 1 failed or a message is missing or wrong, 2 wrong usage, 3 the cluster is unavailable.
#![forbid(unsafe_code)]

mod failure;
mod floor;
mod latency;
mod publish;
mod random;
mod table;
mod units;

use std::process::ExitCode;

use clap::Subcommand;
use meridian_cli::GlobalArgs;

pub use failure::BenchError;
pub use floor::store::{OpenStore, Store};

/// The commands below `meridian bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Publish at a fixed or the highest rate, and report throughput and latency
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::PublishArgs),
    /// Measure what this machine can do: disk syncs, loopback gRPC, synced writes of the storage engine
    #[command(after_help = floor::EXAMPLES)]
    Floor(floor::FloorArgs),
}

/// Runs a command on the standard streams. `open_store` opens the engine that `floor` measures.
pub async fn run(command: BenchCommand, global: GlobalArgs, open_store: OpenStore) -> ExitCode {
    let outcome = match command {
        BenchCommand::Publish(args) => Box::pin(publish::run(args, &global)).await,
        BenchCommand::Floor(args) => Box::pin(floor::run(args, &global, open_store)).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(global.output);
            ExitCode::from(error.exit_code())
        }
    }
}
