//! `meridian dev`: the embedded playground. One process, no configuration, data kept in a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use meridian_config::{
    ClusterConfig, Config, FounderConfig, LimitsConfig, ListenConfig, LogConfig, NodeConfig, RaftConfig,
    StorageConfig,
};
use meridian_daemon::telemetry::logs;

use crate::serve::{self, Opened, ServeError};

/// Options of the playground.
#[derive(Args)]
pub(crate) struct DevArgs {
    /// How many nodes: 1 or 3
    #[arg(long, default_value = "1", value_parser = one_or_three)]
    nodes: u64,
    /// Where the data is kept
    #[arg(long, value_name = "FOLDER", default_value = "meridian-data")]
    data: PathBuf,
    /// The first client port; nodes take the following ones, raft and metrics listeners those above
    #[arg(long, default_value_t = 7171)]
    port: u16,
    /// How much to log: error, warn, info, debug
    #[arg(long, default_value = "warn")]
    log: String,
}

impl DevArgs {
    fn address(&self, node: u64, kind: u16) -> String {
        format!("127.0.0.1:{}", self.port + kind * 10 + (node as u16 - 1))
    }

    fn config(&self, node: u64) -> Config {
        let founder = |id| FounderConfig {
            id,
            client: self.address(id, 0),
            raft: self.address(id, 1),
            zone: format!("zone-{id}"),
        };
        Config {
            node: NodeConfig {
                id: node,
                zone: format!("zone-{node}"),
                data: self.data.join(format!("node-{node}")),
                ready_file: None,
            },
            cluster: ClusterConfig { name: "dev".into(), nodes: (1..=self.nodes).map(founder).collect() },
            listen: ListenConfig {
                client: self.address(node, 0),
                raft: self.address(node, 1),
                metrics: Some(self.address(node, 2)),
                ..ListenConfig::default()
            },
            tls: None,
            raft: RaftConfig::default(),
            membership: Default::default(),
            storage: StorageConfig { memtable_bytes: 64 * 1024 * 1024, ..StorageConfig::default() },
            limits: LimitsConfig::default(),
            log: LogConfig { level: self.log.clone(), ..LogConfig::default() },
        }
    }
}

/// Runs the playground until it is told to stop.
pub(crate) async fn run(args: DevArgs, opened: &mut Vec<Opened>) -> ExitCode {
    logs::install(&args.config(1).log);
    match play(&args, opened).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meridian: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(args: &DevArgs, opened: &mut Vec<Opened>) -> Result<(), ServeError> {
    let told_to_stop = serve::told_to_stop().map_err(ServeError::Signals)?;
    let mut nodes = Vec::new();
    for id in 1..=args.nodes {
        nodes.push(serve::start(args.config(id), opened).await?);
    }
    let first = args.address(1, 0);
    println!("A cluster of {} runs here; its data is in {}.", count(args.nodes), args.data.display());
    println!();
    println!("  clients      {first}");
    println!("  metrics      http://{}/metrics", args.address(1, 2));
    println!();
    println!("Try in another terminal:");
    let server = if args.port == 7171 { String::new() } else { format!(" --server {first}") };
    println!("  meridian{server} topic create hello");
    println!("  echo 'hello, world' | meridian{server} publish hello");
    println!("  meridian{server} read hello");
    println!();
    println!("Stop it with Ctrl-C; the data stays.");
    let failure = {
        let failures = nodes.iter_mut().map(|node| Box::pin(node.failed()));
        tokio::select! {
            () = told_to_stop => None,
            (error, ..) = futures::future::select_all(failures) => Some(error),
        }
    };
    for node in nodes {
        node.stop().await;
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Two nodes survive no more than one does, so there is no such playground.
fn one_or_three(nodes: &str) -> Result<u64, String> {
    match nodes {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 for a lone node, or 3, of which any one may fail".into()),
    }
}

fn count(nodes: u64) -> String {
    match nodes {
        1 => "one node".into(),
        n => format!("{n} nodes"),
    }
}
