//! A cluster of real processes, and everything that can be done to its nodes.

mod config;
mod leaders;
mod node;
mod process;
mod roster;
mod setup;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use meridian_sdk::{Client, ClientConfig, ConnectError, Error};
use meridian_workload::Region;
use tonic::transport::{Channel, Endpoint};

use crate::disk::Disk;
use crate::net::Network;
use crate::run::Run;
use crate::wait;

pub use meridian_workload::Whose;

pub use config::{CLIENT_PORT, LimitsSection, METRICS_PORT, NodeConfig, RAFT_PORT};
pub use node::Node;
pub(crate) use process::forget_clock;
pub use process::{Exit, Process, binary, binary_age, tail};
pub use roster::Roster;
pub use setup::{Member, Memory, Setup, Timing};

/// How long a node may take to listen.
pub const READY_MAX: Duration = Duration::from_secs(30);
/// How long the founders may take to form the cluster.
const FORMED_MAX: Duration = Duration::from_secs(60);
/// How often a node that exits by itself is started again while a cluster recovers.
const REVIVALS_MAX: u32 = 5;

/// The nodes of one run. Dropping it ends their processes.
#[derive(Debug)]
pub struct Cluster {
    nodes: BTreeMap<u64, Mutex<Node>>,
    /// Those of them that belong to the region now.
    present: Mutex<BTreeSet<u64>>,
    founders: Vec<Member>,
    channels: BTreeMap<u64, Channel>,
    /// After the nodes: a disk is released only when its process is gone.
    network: Network,
    setup: Setup,
    run: Arc<Run>,
}

impl Cluster {
    /// Makes network, disks and files for all nodes. Nothing runs yet.
    ///
    /// # Errors
    /// If the machine refuses.
    pub fn make(run: Arc<Run>, setup: Setup) -> Result<Self> {
        let all = setup.nodes + setup.spares;
        let network = Network::make(run.number(), setup.placement, all)?;
        let member = |id| Member { id, address: network.address(id) };
        let founders: Vec<Member> = (1..=setup.nodes).map(member).collect();
        let (mut nodes, mut channels) = (BTreeMap::new(), BTreeMap::new());
        for member in (1..=all).map(member) {
            let root = run.folder().join(format!("disk-{}", member.id));
            let disk = Disk::make(setup.disk, root, run.fast_folder()?)?;
            let netns = network.namespace(member.id);
            let node = Node::make(&member, &founders, &setup, run.folder(), netns, disk)?;
            nodes.insert(member.id, Mutex::new(node));
            channels.insert(member.id, channel(&format!("{}:{CLIENT_PORT}", member.address))?);
        }
        let present = Mutex::new((1..=setup.nodes).collect());
        Ok(Self { nodes, present, founders, channels, network, setup, run })
    }

    /// Makes a cluster, starts it, and waits until it is formed.
    ///
    /// # Errors
    /// If a node does not come up.
    pub async fn start(run: Arc<Run>, setup: Setup) -> Result<Arc<Self>> {
        let cluster = Self::make(run, setup)?;
        for id in cluster.ids() {
            cluster.node(id)?.start()?;
        }
        for id in cluster.ids() {
            cluster.await_ready(id, READY_MAX).await?;
        }
        cluster.await_formed(FORMED_MAX).await?;
        Ok(Arc::new(cluster))
    }

    /// The numbers of the nodes that belong to the region now, whether they run or not.
    pub fn ids(&self) -> Vec<u64> {
        self.present().iter().copied().collect()
    }

    /// What it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its links.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The run it belongs to.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// The founders.
    pub fn founders(&self) -> &[Member] {
        &self.founders
    }

    /// One node, locked: hold it shortly and never across an await.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn node(&self, id: u64) -> Result<MutexGuard<'_, Node>> {
        let node = self.nodes.get(&id).with_context(|| format!("there is no node {id}"))?;
        Ok(node.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where clients reach a node.
    pub fn address(&self, id: u64) -> String {
        format!("{}:{CLIENT_PORT}", self.network.address(id))
    }

    /// A connection to one node, shared, made when it is first used.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn channel(&self, id: u64) -> Result<Channel> {
        self.channels.get(&id).cloned().with_context(|| format!("there is no node {id}"))
    }

    /// A client as applications have it.
    ///
    /// # Errors
    /// Only for a malformed address.
    pub fn client(&self, seed: u64) -> Result<Client> {
        Ok(Region::client(self, seed)?)
    }

    /// Starts a node and waits until it listens.
    ///
    /// # Errors
    /// If it does not listen in time; the error holds the end of its log.
    pub async fn start_node(&self, id: u64) -> Result<Duration> {
        let begun = Instant::now();
        self.node(id)?.start()?;
        self.await_ready(id, READY_MAX).await?;
        Ok(begun.elapsed())
    }

    /// Waits until a node that was started listens.
    ///
    /// # Errors
    /// If it exits instead, or does not in time.
    pub async fn await_ready(&self, id: u64, within: Duration) -> Result<()> {
        let what = format!("node {id} to listen");
        let outcome = wait::until(&what, within, async || {
            let mut node = self.node(id).ok()?;
            match (node.is_ready(), node.is_running()) {
                (true, true) => Some(Ok(())),
                (_, false) => Some(Err(node.own_exit())),
                _ => None,
            }
        });
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(exit)) => bail!("node {id} exited with {exit:?}:\n{}", self.node(id)?.log_tail()),
            Err(error) => Err(error.context(self.node(id)?.log_tail())),
        }
    }

    /// Starts every node that does not run, again if it exits once more: a damaged node may need a second
    /// start to come back empty. Returns how many starts it took.
    ///
    /// # Errors
    /// If a node keeps exiting.
    pub async fn revive(&self) -> Result<u32> {
        let mut revived = 0;
        for id in self.ids() {
            for attempt in 1..=REVIVALS_MAX {
                if self.node(id)?.is_running() {
                    break;
                }
                revived += 1;
                match self.start_node(id).await {
                    Ok(_) => break,
                    Err(error) if attempt == REVIVALS_MAX => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(revived)
    }
}

impl Region for Cluster {
    fn nodes(&self) -> Vec<u64> {
        self.ids()
    }

    fn name(&self, node: u64) -> String {
        format!("node-{node}")
    }

    fn channel(&self, node: u64) -> Result<Channel, ConnectError> {
        let none = || Arc::new(io::Error::other(format!("there is no node {node}"))) as ConnectError;
        self.channels.get(&node).cloned().ok_or_else(none)
    }

    fn client(&self, seed: u64) -> Result<Client, Error> {
        let addresses = self.ids().into_iter().map(|id| self.address(id));
        Client::new(ClientConfig::new(addresses).with_seed(seed))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            let node = node.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = node.kill();
            if self.run.is_kept() {
                let _ = node.disk().save_to(&node.file("data"));
            }
        }
    }
}

fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy())
}
