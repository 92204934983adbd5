//! `meridian`: the one binary.

mod certificates;
mod dev;
mod floor;
mod memory;
mod recover;
mod serve;
mod unsafe_recover;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use meridian_bench::BenchCommand;
use meridian_cli::{ClientCommand, GlobalArgs};

/// Meridian: a message cluster. Each partition is a Raft group on disk; an ack means a quorum has it.
#[derive(Parser)]
#[command(name = "meridian", version, propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run one node of a cluster
    Serve {
        /// The configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run a whole cluster in this process: a playground without configuration
    Dev(dev::DevArgs),
    /// Say what a stopped node has set aside because it was damaged; put it back, or give it up
    Recover(recover::RecoverArgs),
    /// Let what is left of a region go on when a majority of its copies is lost for ever. Acknowledged messages may
    /// be lost
    UnsafeRecover(unsafe_recover::UnsafeRecoverArgs),
    /// Make an authority and certificates for a first cluster with TLS
    Certificates(certificates::CertificatesArgs),
    /// Measure how fast a cluster is, or what its machine can do at most
    ///
    /// `publish` loads a cluster and reports throughput and latency; `floor` measures disk, loopback and storage
    /// engine of this machine, without a cluster, to compare with.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    #[command(flatten)]
    Client(ClientCommand),
}

fn main() -> ExitCode {
    memory::share_pools();
    let args = Args::parse();
    if let Command::Completions { shell } = args.command {
        clap_complete::generate(shell, &mut Args::command(), "meridian", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    if let Command::Certificates(certificates) = &args.command {
        return certificates::run(certificates);
    }
    if let Command::Recover(recover) = &args.command {
        return recover::run(recover);
    }
    if let Command::UnsafeRecover(recover) = &args.command {
        return unsafe_recover::run(recover);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("meridian: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut opened = Vec::new();
    let code = runtime.block_on(async {
        match args.command {
            Command::Serve { config } => serve::run(&config, &mut opened).await,
            Command::Dev(dev) => dev::run(dev, &mut opened).await,
            Command::Client(command) => meridian_cli::run(command, args.global).await,
            Command::Bench(command) => meridian_bench::run(command, args.global, floor::open_store).await,
            Command::Completions { .. }
            | Command::Certificates(_)
            | Command::Recover(_)
            | Command::UnsafeRecover(_) => ExitCode::SUCCESS,
        }
    });
    // Reads that still block on the disk must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    opened.into_iter().for_each(serve::Opened::close);
    code
}
