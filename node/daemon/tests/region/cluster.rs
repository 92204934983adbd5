//! A region of three real nodes in this process: each has a runtime of its own, so that it can die at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meridian_config::{
    ClusterConfig, Config, FounderConfig, LimitsConfig, ListenConfig, MembershipConfig, NodeConfig,
    RaftConfig, StorageConfig,
};
use meridian_daemon::comparison::Comparison;
use meridian_daemon::listen::TcpListen;
use meridian_daemon::{Node, NodeParts};
use meridian_model::Incarnation;
use meridian_raft::network::TcpDial;
use meridian_raft::{Group, Registry};
use meridian_sdk::admin::{GroupInfo, NewTopic, TopicInfo};
use meridian_sdk::{Client, ClientConfig, Retention};
use meridian_storage::{Disk, Engine, MemoryEngine, Writer};
use tokio::runtime::Runtime;

use crate::clock::{MovableClock, NodeClock};
use crate::patience::until;
use crate::power::{Moment, Power};

/// The nodes of a region.
pub(crate) const NODES: [u64; 3] = [1, 2, 3];

/// The silence before a follower stands by its own timer, beyond the lease, in milliseconds.
pub(crate) const ELECTION_MS_MIN: u64 = 900;
/// The lease of a leader, in milliseconds.
pub(crate) const ELECTION_MS_MAX: u64 = 1_400;

/// Counts the regions of this process: each gets loopback addresses of its own.
static REGIONS: AtomicU64 = AtomicU64::new(0);

/// Nothing moves by itself.
const AT_REST: MembershipConfig =
    MembershipConfig { rebalance_leaders: false, moves_max: 0, move_bytes_per_second: 0, dead_after_ms: 0 };

/// What may differ from region to region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) limits: LimitsConfig,
    pub(crate) storage: StorageConfig,
    /// Memory for the recent entries of all groups, where it is not the default.
    pub(crate) tail_bytes: Option<usize>,
    /// Shortest and longest silence before an election, where they are not those of other tests.
    pub(crate) election_ms: Option<(u64, u64)>,
    /// How copies and leaders move; by default leaders stay where a test puts them.
    pub(crate) membership: Option<MembershipConfig>,
    /// Watch the file system under this folder.
    pub(crate) watched_folder: Option<PathBuf>,
}

struct Seat {
    engine: Arc<MemoryEngine>,
    clock: Arc<NodeClock>,
    incarnation: Incarnation,
    running: Option<Running>,
}

struct Running {
    runtime: Option<Runtime>,
    node: Option<Node>,
    registry: Arc<Registry>,
    comparison: Arc<Comparison>,
    power: Arc<Power>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.power.disconnect();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A region and its disks, which outlive its nodes.
pub(crate) struct Region {
    number: u64,
    settings: Settings,
    seats: BTreeMap<u64, Seat>,
    pub(crate) clock: Arc<MovableClock>,
}

fn host(region: u64, node: u64) -> String {
    // Processes at the same time differ in the second part, regions of one process in the third.
    format!("127.{}.{}.{node}", 1 + std::process::id() % 250, region % 250)
}

/// A loopback address that no region of any process uses at the same time.
pub(crate) fn private_host() -> String {
    host(REGIONS.fetch_add(1, Ordering::SeqCst), 9)
}

fn ports() -> (u32, u32) {
    let base = 20_000 + (std::process::id() / 250) % 1_000 * 2;
    (base, base + 1)
}

impl Region {
    /// Three nodes that have formed a cluster.
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// The same, with other settings.
    pub(crate) async fn start_with(settings: Settings) -> Self {
        let mut region = Self::unpowered(settings);
        for node in NODES {
            region.start_node(node).await;
        }
        region.formed().await;
        region
    }

    /// Disks without nodes.
    pub(crate) fn unpowered(settings: Settings) -> Self {
        let number = REGIONS.fetch_add(1, Ordering::SeqCst);
        let clock = Arc::default();
        let seats = NODES.map(|node| {
            let incarnation = Incarnation::from_u128(u128::from(node));
            (node, Seat { engine: Arc::default(), clock: NodeClock::of(&clock), incarnation, running: None })
        });
        Self { number, settings, seats: seats.into(), clock }
    }

    /// Waits until every running node knows the cluster.
    pub(crate) async fn formed(&self) {
        let client = self.client();
        for node in self.running() {
            until("every node knows the cluster", async || {
                let info = client.admin().get_cluster_at(&self.address(node), true).await.ok()?;
                let control = info.groups.iter().find(|group| group.group.is_control())?;
                (info.cluster.is_some() && info.nodes.len() == 3 && control.leader.is_some()).then_some(())
            })
            .await;
        }
    }

    fn config(&self, node: u64) -> Config {
        let (client, raft) = ports();
        let (election_ms_min, election_ms_max) =
            self.settings.election_ms.unwrap_or((ELECTION_MS_MIN, ELECTION_MS_MAX));
        let address = |node: u64, port: u32| format!("{}:{port}", host(self.number, node));
        let founder = |id| FounderConfig {
            id,
            client: address(id, client),
            raft: address(id, raft),
            zone: format!("zone-{id}"),
        };
        Config {
            node: NodeConfig {
                id: node,
                zone: format!("zone-{node}"),
                data: PathBuf::new(),
                ready_file: None,
            },
            cluster: ClusterConfig { name: "region".into(), nodes: NODES.map(founder).into() },
            listen: ListenConfig {
                client: address(node, client),
                raft: address(node, raft),
                ..ListenConfig::default()
            },
            tls: None,
            raft: RaftConfig {
                heartbeat_ms: 100,
                election_ms_min,
                election_ms_max,
                tail_bytes: self.settings.tail_bytes.unwrap_or(RaftConfig::default().tail_bytes),
            },
            membership: self.settings.membership.unwrap_or(AT_REST),
            storage: self.settings.storage,
            limits: self.settings.limits,
            log: Default::default(),
        }
    }

    /// Starts a node that is no founder: it joins.
    pub(crate) async fn add_node(&mut self, node: u64) {
        let incarnation = Incarnation::from_u128(u128::from(node));
        let seat =
            Seat { engine: Arc::default(), clock: NodeClock::of(&self.clock), incarnation, running: None };
        assert!(self.seats.insert(node, seat).is_none(), "node {node} is there already");
        self.start_node(node).await;
    }

    /// Starts a node on its disk.
    pub(crate) async fn start_node(&mut self, node: u64) {
        self.start_node_that(node, Moment::Never).await;
    }

    /// Starts a node to whose disk something happens.
    pub(crate) async fn start_node_that(&mut self, node: u64, moment: Moment) {
        let config = self.config(node);
        let seat = self.seats.get_mut(&node).expect("a node of the region");
        assert!(seat.running.is_none(), "node {node} runs already");
        let power = Power::on(Arc::clone(&seat.engine), moment);
        let engine: Arc<dyn Engine> = Arc::clone(&power) as _;
        let (writer, writes) = Writer::new(Arc::clone(&engine));
        let parts = NodeParts {
            disk: Disk::inline(engine),
            writer,
            writes,
            writer_thread: true,
            dial: Arc::new(TcpDial),
            listen: Arc::new(TcpListen),
            clock: Arc::clone(&seat.clock) as _,
            incarnation: seat.incarnation,
            may_only_join: false,
            watched_folder: self.settings.watched_folder.clone(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let started = runtime.spawn(Node::start(config, parts)).await.expect("the node does not panic");
        let node = started.expect("the node starts");
        let (registry, comparison) = (Arc::clone(node.registry()), Arc::clone(node.comparison()));
        let (runtime, node) = (Some(runtime), Some(node));
        seat.running = Some(Running { runtime, node, registry, comparison, power });
    }

    /// Power loss at one node: it is gone at once, and so is what it had not synced.
    pub(crate) async fn lose_power(&mut self, node: u64) {
        self.power(node).cut();
        self.bury(node).await;
    }

    /// The node is told to stop: it hands over what it leads.
    pub(crate) async fn leave(&mut self, node: u64) {
        let mut running = self.seat_mut(node).running.take().expect("the node runs");
        running.node.take().expect("taken only here").leave().await;
        let runtime = running.runtime.take().expect("taken only here");
        let gone = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(20)));
        gone.await.expect("the runtime stops");
    }

    /// The node's process is killed; what it had written stays.
    pub(crate) async fn kill(&mut self, node: u64) {
        self.bury(node).await;
    }

    async fn bury(&mut self, node: u64) {
        let mut running = self.seat_mut(node).running.take().expect("the node runs");
        let runtime = running.runtime.take().expect("taken only here");
        let gone = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(20)));
        gone.await.expect("the runtime stops");
        running.power.disconnect();
        drop(running.node.take());
    }

    /// The node's disk is replaced by an empty one.
    pub(crate) fn replace_disk(&mut self, node: u64) {
        let seat = self.seat_mut(node);
        assert!(seat.running.is_none(), "stop the node first");
        seat.engine = Arc::default();
        seat.incarnation = Incarnation::from_u128(seat.incarnation.as_u128() + 100);
    }

    /// The numbers of the nodes that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.seats.iter().filter(|(_, seat)| seat.running.is_some()).map(|(node, _)| *node).collect()
    }

    fn seat_mut(&mut self, node: u64) -> &mut Seat {
        self.seats.get_mut(&node).expect("a node of the region")
    }

    fn run(&self, node: u64) -> &Running {
        self.seats[&node].running.as_ref().expect("the node runs")
    }

    /// The plug of a running node.
    pub(crate) fn power(&self, node: u64) -> Arc<Power> {
        Arc::clone(&self.run(node).power)
    }

    /// The disk of a node.
    pub(crate) fn disk(&self, node: u64) -> &Arc<MemoryEngine> {
        &self.seats[&node].engine
    }

    /// The groups of a running node.
    pub(crate) fn registry(&self, node: u64) -> Arc<Registry> {
        Arc::clone(&self.run(node).registry)
    }

    /// What a running node found when it compared its tables with others'.
    pub(crate) fn comparison(&self, node: u64) -> Arc<Comparison> {
        Arc::clone(&self.run(node).comparison)
    }

    /// `host:port` of a node's client listener.
    pub(crate) fn address(&self, node: u64) -> String {
        format!("{}:{}", host(self.number, node), ports().0)
    }

    /// `host:port` of a node's raft listener.
    pub(crate) fn raft_address(&self, node: u64) -> String {
        format!("{}:{}", host(self.number, node), ports().1)
    }

    /// A client of the whole region.
    pub(crate) fn client(&self) -> Client {
        let config = ClientConfig::new(NODES.map(|node| self.address(node)));
        Client::new(config).expect("the addresses are good")
    }

    /// Time passes at once, and every node has heard it of every other.
    pub(crate) async fn pass(&self, ms: u64) {
        self.clock.forward(ms);
        let client = self.client();
        for node in self.running() {
            until("the nodes' clocks agree", async || {
                let info = client.admin().get_cluster_at(&self.address(node), false).await.ok()?;
                let offsets = info.nodes.iter().map(|other| other.clock_offset_ms);
                let near = |offset: Option<i64>| offset.is_none_or(|ms| ms.abs() < 2_000);
                offsets.into_iter().all(near).then_some(())
            })
            .await;
        }
    }

    /// One node's clock is this far ahead of the others'.
    pub(crate) fn skew(&self, node: u64, ms: u64) {
        self.seats[&node].clock.skew(ms);
    }

    /// A topic of one partition, three copies, and everything kept.
    pub(crate) async fn topic(&self, name: &str) -> TopicInfo {
        self.topic_keeping(name, Retention::default()).await
    }

    /// A topic of one partition and three copies.
    pub(crate) async fn topic_keeping(&self, name: &str, retention: Retention) -> TopicInfo {
        let topic = NewTopic { retention, ..NewTopic::new(name, 1) };
        let created = self.client().admin().create_topic(topic).await.expect("the topic is created");
        assert_eq!(created.pending_partitions, Vec::<u32>::new());
        created.topic
    }

    /// What a node says of the only partition of a topic.
    pub(crate) async fn status(&self, node: u64, topic: &TopicInfo) -> Option<GroupInfo> {
        let info = self.client().admin().get_cluster_at(&self.address(node), true).await.ok()?;
        info.groups.into_iter().find(|group| group.group == topic.partitions[0].group)
    }

    /// The replica of the topic's only partition on a running node.
    pub(crate) fn group(&self, node: u64, topic: &TopicInfo) -> Option<Arc<Group>> {
        self.registry(node).get(topic.partitions[0].group)
    }

    /// The running node that leads the topic's only partition, waited for.
    pub(crate) async fn leader(&self, topic: &TopicInfo) -> u64 {
        until("the partition has a leader", async || {
            let leads = |node: &u64| self.group(*node, topic).is_some_and(|group| group.is_leader());
            self.running().into_iter().find(leads)
        })
        .await
    }

    /// Makes a node lead the topic's only partition.
    pub(crate) async fn make_leader(&self, node: u64, topic: &TopicInfo) {
        until("leadership moves", async || {
            let leader = self.leader(topic).await;
            if leader == node {
                return Some(());
            }
            let replica = self.group(node, topic)?.replica();
            // Refused while the node is behind, or an election is on: asked again.
            let _ = self.group(leader, topic)?.transfer_leader(replica).await;
            None
        })
        .await;
    }
}
