//! `meridian-jepsen`: run a workload under faults and judge it, probe the machine, sweep up after dead runs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use meridian_checker::{Options, Promise};
use meridian_harness::arena::{Arena, Plan, large_run};
use meridian_harness::chance::fresh_seed;
use meridian_harness::disk::DiskKind;
use meridian_harness::fault::{Kind, Nemesis};
use meridian_harness::probe::Probe;
use meridian_harness::sweep;
use meridian_harness::workload::Spec;
use meridian_sdk::Retention;

/// Real processes under real faults, judged from what their clients saw.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a workload under faults, then heal, rescan every replica and judge the history.
    Run(RunArgs),
    /// Try every fault once and print what this machine can do.
    Probe,
    /// Remove what dead runs left behind.
    Sweep,
}

#[derive(Debug, Parser)]
struct RunArgs {
    /// Which clients are at work.
    #[arg(long, value_enum, default_value_t = Clients::Mixed)]
    workload: Clients,
    /// Faults, separated by commas: kill, pause, pause-kill, partition, power, power-all. Empty: none.
    #[arg(long, value_delimiter = ',', default_value = "kill")]
    faults: Vec<Kind>,
    /// How long faults go on, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Where every choice comes from. Absent: a fresh one.
    #[arg(long)]
    seed: Option<u64>,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 3)]
    partitions: u32,
    /// Never sync: the run must then fail when power is lost.
    #[arg(long)]
    unsafe_no_sync: bool,
    /// Keep the run's folder even if it passes.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Clients {
    /// Producers of both sorts, rivals, readers, probes and an administrator.
    Mixed,
    /// Producers and readers of the SDK only.
    Sdk,
    /// Administrators.
    Control,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Run(args) => {
            tokio::runtime::Runtime::new().map_err(Into::into).and_then(|r| r.block_on(run(args)))
        }
        Command::Probe => probe(),
        Command::Sweep => sweep::sweep_all().map(|problems| {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            problems.is_empty()
        }),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("meridian-jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn probe() -> Result<bool> {
    let probe = Probe::take()?;
    print!("{probe}");
    Ok(probe.is_complete())
}

async fn run(args: RunArgs) -> Result<bool> {
    let plan = plan(&args);
    let (spec, options) = clients(args.workload);
    println!(
        "seed        {}\nfaults      {:?}\nsetup       {:?}\nclients     {spec:?}",
        plan.seed, args.faults, plan.setup
    );
    let mut arena = Arena::open(plan).await?;
    arena.topic("events", args.partitions, Retention::default()).await?;
    let workload = arena.workload("events", args.partitions, &spec);
    workload.tally().await_acks(20, Duration::from_secs(30)).await?;
    let mut nemesis = Nemesis::new(&arena.faults, arena.chance("nemesis"));
    let planned = nemesis.run(&args.faults, Duration::from_secs(args.seconds)).await?;
    arena.recovered(&workload, std::time::Instant::now()).await?;
    let judged = arena.conclude(workload, &options).await?;
    println!("{planned} faults planned\n{judged}");
    let folder = arena.folder();
    if args.keep {
        arena.keep();
        println!("kept in {}", folder.display());
    }
    match arena.expect_pass(&judged) {
        Ok(()) => {
            arena.finish();
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

fn plan(args: &RunArgs) -> Plan {
    let has = |kinds: &[Kind]| args.faults.iter().any(|fault| kinds.contains(fault));
    let mut plan = Plan::new("run", args.seconds + 60).with_nodes(args.nodes);
    plan.seed = args.seed.unwrap_or_else(fresh_seed);
    if has(&[Kind::Partition]) {
        plan = plan.with_links();
    }
    if has(&[Kind::Power, Kind::PowerAll]) {
        plan = plan.with_disks(DiskKind::ROOMY);
    }
    plan.with_setup(|setup| setup.unsafe_no_sync = args.unsafe_no_sync)
}

fn clients(workload: Clients) -> (Spec, Options) {
    match workload {
        Clients::Mixed => {
            let spec = Spec { administrators: 1, ..Spec::default() };
            (spec, large_run().demanding(Promise::Log6).demanding(Promise::Ctl1))
        }
        Clients::Sdk => (Spec::sdk_only(), large_run()),
        Clients::Control => (Spec::control(), large_run().demanding(Promise::Ctl1)),
    }
}
