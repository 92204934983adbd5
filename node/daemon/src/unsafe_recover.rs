//! `meridian unsafe-recover`: what is left of a region goes on, without the majority that is lost for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use meridian_config::Config;
use meridian_daemon::folder::{DataFolder, FolderError};
use meridian_machine::control::ControlMachine;
use meridian_model::{GroupId, Incarnation, NodeId};
use meridian_raft::alone::{self, Fence, Remains};
use meridian_storage::rocks::RocksOptions;
use meridian_storage::{Engine, EngineError, RocksEngine, WriteSet};

/// The options of `meridian unsafe-recover`.
#[derive(clap::Args)]
pub(crate) struct UnsafeRecoverArgs {
    /// The configuration file of a node that is left. The node must not run
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The nodes that will never come back with their data
    #[arg(long, value_name = "NODE,NODE", value_delimiter = ',', required = true)]
    lost: Vec<u64>,
    /// Do it. Without this, only what would be done is printed
    #[arg(long)]
    i_accept_that_acknowledged_messages_may_be_lost: bool,
    /// Only stop speaking to the lost nodes: for the other nodes that are left
    #[arg(long)]
    fence_only: bool,
}

/// Why nothing was recovered. Nothing was changed, then.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the data folder cannot be opened: {0}")]
    Engine(#[from] EngineError),
    #[error("the stored state cannot be read: {0}")]
    Stored(#[from] std::io::Error),
    #[error("the stored data is damaged ({0}): start the node, which sets it aside, or repair it")]
    Damaged(String),
    #[error("this is node {0}: name the nodes that are lost")]
    LostItself(u64),
    #[error("node {0} is not known here; known are {1}")]
    Unknown(u64, String),
    #[error("this node has never been part of a cluster")]
    Nothing,
}

pub(crate) fn run(args: &UnsafeRecoverArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return failed(&error, ExitCode::from(2)),
    };
    match recover(&config, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

fn failed(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("meridian: {error}");
    code
}

fn recover(config: &Config, args: &UnsafeRecoverArgs) -> Result<(), Refused> {
    let own = NodeId(config.node.id);
    if args.lost.contains(&own.0) {
        return Err(Refused::LostItself(own.0));
    }
    if !config.node.data.exists() {
        return Err(Refused::Nothing);
    }
    let folder = DataFolder::open(&config.node.data, own, &config.cluster.name, super::serve::draw)?;
    if let Some(why) = folder.condemned() {
        return Err(Refused::Damaged(why));
    }
    let options = RocksOptions {
        cache_bytes: config.storage.cache_bytes,
        memtable_bytes: config.storage.memtable_bytes,
        unsafe_no_sync: false,
    };
    let rocks = RocksEngine::open(&folder.engine(), &options)?;
    let closed = rocks.closed();
    let engine: Arc<dyn Engine> = Arc::new(rocks);
    let outcome = recover_stored(&engine, own, args);
    drop(engine);
    if let Some(closed) = closed {
        closed.wait(std::time::Duration::from_secs(10));
    }
    outcome
}

fn recover_stored(engine: &Arc<dyn Engine>, own: NodeId, args: &UnsafeRecoverArgs) -> Result<(), Refused> {
    let control = alone::control_state(engine)?.ok_or(Refused::Nothing)?;
    let lost = lives_of(&control, &args.lost)?;
    let nodes: BTreeSet<NodeId> = lost.keys().copied().collect();
    let remains: Vec<Remains> = alone::remains(engine)?;
    let stuck: Vec<&Remains> = remains.iter().filter(|of| !of.survives(&nodes)).collect();
    println!(
        "{} of {} copies here have lost their majority with {}.",
        stuck.len(),
        remains.len(),
        named(&nodes)
    );
    let mut set = WriteSet::default();
    for of in &stuck {
        let alone = of.go_on_alone(own).filter(|_| !args.fence_only);
        println!("  {}: {}", name_of(&control, of.group), verdict(of, own, &nodes, alone.is_some()));
        alone.into_iter().for_each(|one| one.writes().iter().cloned().for_each(|write| set.push(write)));
    }
    let mut fence = Fence::of_stopped(&**engine)?;
    fence.lives.extend(lost);
    fence.store(&mut set)?;
    println!(
        "{} will be neither heard nor spoken to, unless they come with an empty data folder.",
        named(&nodes)
    );
    if !args.i_accept_that_acknowledged_messages_may_be_lost {
        println!("\nNothing was changed. {WARNING}");
        println!("To do it, add --i-accept-that-acknowledged-messages-may-be-lost.");
        return Ok(());
    }
    engine.write(&[set], true)?;
    println!("\nDone. {WARNING}");
    println!("Start this node. Then start the lost nodes with empty data folders, or decommission them.");
    Ok(())
}

const WARNING: &str = "\
Messages that only the lost nodes had are gone, acknowledged or not, and their offsets will be given to others: \
readers that were ahead of this node have seen messages that no longer exist. Do this on ONE node that is left, the \
one with the longest logs, and on the others with --fence-only. Nodes named as lost must never run again with their \
old data: together they would go on as the old region.";

/// The life that each of these nodes has, by what this node knows.
fn lives_of(control: &ControlMachine, lost: &[u64]) -> Result<BTreeMap<NodeId, Incarnation>, Refused> {
    let known = || control.nodes().map(|record| record.node.0.to_string()).collect::<Vec<_>>().join(", ");
    let life = |number: &u64| match control.node(NodeId(*number)) {
        Some(record) => Ok((record.node, record.incarnation)),
        None => Err(Refused::Unknown(*number, known())),
    };
    lost.iter().map(life).collect()
}

fn named(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn name_of(control: &ControlMachine, group: GroupId) -> String {
    match control.group(group) {
        _ if group.is_control() => "control group".into(),
        Some((topic, partition)) => format!("{}, partition {partition}", topic.name.resource()),
        None => group.to_string(),
    }
}

fn verdict(of: &Remains, own: NodeId, lost: &BTreeSet<NodeId>, alone: bool) -> String {
    let (term, index) = of.last;
    let log = format!("log ends at {index} of term {term}");
    let others = of.others(own, lost);
    match alone {
        true if others.is_empty() => format!("{log}; goes on alone here"),
        true => {
            format!("{log}; goes on alone here, WITHOUT {}: compare where their logs end", named(&others))
        }
        false if of.condemned => "damaged: stays without a majority".into(),
        false if of.incomplete => format!("{log}; had not got everything yet: stays without a majority"),
        false => format!("{log}; stays as it is"),
    }
}
