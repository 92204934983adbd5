//! A node of the region on a simulated machine: the real node, its disk and its clock, and the life it is in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_config::{ClusterConfig, Config, FounderConfig, ListenConfig, NodeConfig};
use meridian_daemon::{Node, NodeParts};
use meridian_model::Incarnation;
use meridian_raft::Registry;
use meridian_storage::{Disk, Engine, MemoryEngine, Writer};
use parking_lot::Mutex;

use crate::clock::SkewedClock;
use crate::disk::TracedEngine;
use crate::net::Net;
use crate::plan::{HOSTS, NODES, Plan};
use crate::trace::{Event, Trace};

const CLIENT_PORT: u16 = 7171;
const RAFT_PORT: u16 = 7172;

/// A disk and the name of its life.
struct DiskLife {
    engine: Arc<MemoryEngine>,
    incarnation: Incarnation,
    lives: u64,
}

/// A simulated machine. It outlives the process that runs on it.
pub(crate) struct Machine {
    place: usize,
    plan: Arc<Plan>,
    trace: Arc<Trace>,
    disk: Mutex<DiskLife>,
    clock: Arc<SkewedClock>,
    registry: Mutex<Option<Arc<Registry>>>,
}

/// Where clients reach a node.
pub(crate) fn client_address(node: usize) -> String {
    format!("{}:{CLIENT_PORT}", HOSTS[node])
}

fn incarnation(seed: u64, place: usize, life: u64) -> Incarnation {
    let hash = blake3::hash(format!("{seed}/{place}/{life}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    Incarnation(id)
}

impl Machine {
    pub(crate) fn new(place: usize, plan: Arc<Plan>, trace: Arc<Trace>) -> Arc<Self> {
        let disk =
            DiskLife { engine: Arc::default(), incarnation: incarnation(plan.seed, place, 0), lives: 0 };
        let clock = Arc::new(SkewedClock::new(plan.skew_ms[place]));
        Arc::new(Self { place, plan, trace, disk: Mutex::new(disk), clock, registry: Mutex::default() })
    }

    /// The process of the node, until it fails by itself.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let host: Arc<str> = HOSTS[self.place].into();
        let (engine, incarnation) = {
            let disk = self.disk.lock();
            (Arc::clone(&disk.engine), disk.incarnation)
        };
        let engine = TracedEngine { node: Arc::clone(&host), engine, trace: Arc::clone(&self.trace) };
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let (writer, writes) = Writer::new(Arc::clone(&engine));
        let net = Net::new(host, Arc::clone(&self.trace));
        let parts = NodeParts {
            disk: Disk::inline(engine),
            writer: writer.with_latency(Duration::from_micros(self.plan.disk_us[self.place])),
            writes,
            writer_thread: false,
            dial: Arc::new(net.clone()),
            listen: Arc::new(net),
            clock: Arc::clone(&self.clock) as _,
            incarnation,
            may_only_join: false,
            watched_folder: None,
        };
        let mut node = Node::start(config(self.place), parts).await?;
        *self.registry.lock() = Some(Arc::clone(node.registry()));
        let error = node.failed().await;
        Err(format!("{} stopped by itself: {error}", HOSTS[self.place]).into())
    }

    /// The groups of the running node.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.registry.lock().clone()
    }

    /// The process is gone.
    pub(crate) fn stopped(&self) {
        *self.registry.lock() = None;
    }

    /// From now on the disk says that it has synced and has not.
    pub(crate) fn begin_lying(&self) {
        self.disk.lock().engine.lie_about_sync();
    }

    /// The power is gone: so is what was not synced, but perhaps for its first few writes.
    pub(crate) fn lose_power(&self, kept_writes: u64) {
        let told = format!("power loss, {kept_writes} writes kept");
        self.trace.record(Event::Engine, HOSTS[self.place], told.as_bytes());
        self.disk.lock().engine.crash_keeping(kept_writes);
    }

    /// Somebody puts an empty disk in.
    pub(crate) fn wipe(&self) {
        self.trace.record(Event::Engine, HOSTS[self.place], b"wiped");
        let mut disk = self.disk.lock();
        disk.lives += 1;
        disk.engine = Arc::default();
        disk.incarnation = incarnation(self.plan.seed, self.place, disk.lives);
    }

    /// The wall clock jumps.
    pub(crate) fn jump_clock(&self, by_ms: i64) {
        self.clock.jump(by_ms);
    }
}

fn config(place: usize) -> Config {
    let address = |place: usize, port: u16| format!("{}:{port}", HOSTS[place]);
    let founders = (0..NODES).map(|place| FounderConfig {
        id: place as u64 + 1,
        client: address(place, CLIENT_PORT),
        raft: address(place, RAFT_PORT),
        zone: format!("zone-{place}"),
    });
    Config {
        node: NodeConfig {
            id: place as u64 + 1,
            zone: format!("zone-{place}"),
            data: PathBuf::new(),
            ready_file: None,
        },
        cluster: ClusterConfig { name: "simulated".into(), nodes: founders.collect() },
        listen: ListenConfig {
            client: address(place, CLIENT_PORT),
            raft: address(place, RAFT_PORT),
            ..ListenConfig::default()
        },
        tls: None,
        raft: Default::default(),
        membership: Default::default(),
        storage: Default::default(),
        limits: Default::default(),
        log: Default::default(),
    }
}
