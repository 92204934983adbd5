//! A node: its rooms, wired. Everything that touches the world comes in through [`NodeParts`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_config::{Config, ListenConfig};
use meridian_model::topology::NodeAddresses;
use meridian_model::{Clock, Incarnation, NodeId};
use meridian_raft::alone::Fence;
use meridian_raft::log_store::TailBudget;
use meridian_raft::network::{AddressBook, Dial, Links, Pace, TlsDial};
use meridian_raft::{ClockBook, GroupParts, Metronome, Registry, Signs, Vigil};
use meridian_storage::{Disk, EngineError, Writer, WriterHandle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::comparison::Comparison;
use crate::control_plane::ControlPlane;
use crate::formation::Founding;
use crate::keeper::{self, DiskSpace, Endless, FileSystem};
use crate::listen::{Bound, Listen};
use crate::rooms::{Listeners, Rooms};
use crate::server::Life;
use crate::tls::{Tls, TlsError};

/// How long a write may hang before the node gives up, so that another one leads.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long handing over may take before a node stops all the same.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

/// What a node stands on: replaced as a whole by the simulator.
pub struct NodeParts {
    /// The engine, for reading.
    pub disk: Disk,
    /// The writer over the same engine; started here.
    pub writer: Writer,
    /// The handle to it.
    pub writes: WriterHandle,
    /// Whether the writer gets a thread of its own, or a task.
    pub writer_thread: bool,
    /// How other nodes are reached. Not asked where the configuration has TLS: then they are over TCP.
    pub dial: Arc<dyn Dial>,
    /// How this node is reached.
    pub listen: Arc<dyn Listen>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// This life of the disk.
    pub incarnation: Incarnation,
    /// Damaged data was set aside before this life: it joins its cluster and never founds one.
    pub may_only_join: bool,
    /// The data folder: its space is watched, and what is damaged is kept there. `None`: a disk without end.
    pub watched_folder: Option<PathBuf>,
}

/// Why a node does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A listener could not be bound.
    #[error("cannot listen on {address} ({key}): {error}; is another process using it?")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// TLS is not fit for use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The engine failed while the node ran.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The control replica could not be opened.
    #[error("the control group could not be opened: {0}")]
    Control(std::io::Error),
    /// A server stopped.
    #[error("the {0} listener failed: {1}")]
    Server(&'static str, String),
}

/// A running node.
pub struct Node {
    own: NodeId,
    addresses: NodeAddresses,
    metrics: Option<String>,
    admin: Option<String>,
    registry: Arc<Registry>,
    control: Arc<ControlPlane>,
    comparison: Arc<Comparison>,
    writes: WriterHandle,
    disk: Disk,
    tasks: Vec<JoinHandle<()>>,
    failures: tokio::sync::mpsc::Receiver<NodeError>,
    stop: watch::Sender<bool>,
}

async fn bind(listen: &Arc<dyn Listen>, key: &'static str, address: &str) -> Result<Bound, NodeError> {
    let bound = listen.bind(address).await;
    bound.map_err(|error| NodeError::Listen { key, address: address.to_string(), error })
}

async fn bind_all(listen: &Arc<dyn Listen>, config: &ListenConfig) -> Result<Listeners, NodeError> {
    let client = bind(listen, "listen.client", &config.client).await?;
    let raft = bind(listen, "listen.raft", &config.raft).await?;
    let admin = match &config.admin {
        Some(address) => Some(bind(listen, "listen.admin", address).await?),
        None => None,
    };
    Ok(Listeners { client, raft, admin })
}

/// Where the cluster's first nodes are.
fn founders(config: &Config) -> Arc<AddressBook> {
    let book = Arc::new(AddressBook::default());
    for node in &config.cluster.nodes {
        book.set(NodeId(node.id), &node.raft);
    }
    book
}

/// Where others reach this node.
fn advertised(config: &ListenConfig, listeners: &Listeners) -> NodeAddresses {
    let or_bound =
        |told: &Option<String>, bound: &Bound| told.clone().unwrap_or_else(|| bound.address.clone());
    NodeAddresses {
        client: or_bound(&config.advertise_client, &listeners.client),
        raft: or_bound(&config.advertise_raft, &listeners.raft),
    }
}

fn space(watched: Option<PathBuf>) -> Arc<dyn DiskSpace> {
    match watched {
        Some(folder) => Arc::new(FileSystem(folder)),
        None => Arc::new(Endless),
    }
}

async fn load_tls(config: &Config, own: NodeId) -> Result<Option<Arc<Tls>>, TlsError> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let cluster = config.cluster.name.clone();
    let loading = tokio::task::spawn_blocking(move || Tls::load(&files, &cluster, own));
    loading.await.map_err(|error| TlsError::Unfit(error.to_string()))?.map(Some)
}

fn start_writer(writer: Writer, on_thread: bool) -> std::io::Result<()> {
    if !on_thread {
        tokio::spawn(writer.run());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("writer".into()).spawn(move || runtime.block_on(writer.run()))?;
    Ok(())
}

impl Node {
    /// Starts a node: binds its listeners, serves, and brings it into its cluster in the background.
    pub async fn start(config: Config, parts: NodeParts) -> Result<Node, NodeError> {
        let own = NodeId(config.node.id);
        let tls = load_tls(&config, own).await?;
        let listeners = bind_all(&parts.listen, &config.listen).await?;
        let admin = listeners.admin.as_ref().map(|bound| bound.address.clone());
        let secured = tls.as_ref().map(|tls| Arc::new(TlsDial::new(Arc::clone(tls) as _)) as Arc<dyn Dial>);
        let dial = secured.unwrap_or(parts.dial);
        let addresses = advertised(&config.listen, &listeners);
        start_writer(parts.writer, parts.writer_thread).map_err(NodeError::Control)?;
        let clocks = ClockBook::new(own, Arc::clone(&parts.clock));
        let book = founders(&config);
        book.set(own, &addresses.raft);
        let fence = Fence::load(&parts.disk).await.map_err(NodeError::Control)?;
        book.fence(fence.lives.keys().copied().collect());
        let signs = Signs::new(config.timing().silence_max());
        let pace = Pace::new(config.membership.move_bytes_per_second);
        let links = Links::new(own, dial, book, Arc::clone(&clocks), Arc::clone(&signs), pace);
        let group_parts = GroupParts {
            writer: parts.writes.clone(),
            disk: parts.disk.clone(),
            budget: TailBudget::new(config.raft.tail_bytes),
            links: Arc::clone(&links),
            clocks: Arc::clone(&clocks),
            config: config.timing(),
        };
        let registry = Arc::new(Registry::default());
        let control = ControlPlane::new(own, &config.cluster.name, Arc::clone(&registry), Arc::clone(&links));
        let comparison = Arc::new(Comparison::default());
        let rooms = Rooms {
            own,
            incarnation: parts.incarnation,
            config: config.clone(),
            addresses: addresses.clone(),
            registry: Arc::clone(&registry),
            control: Arc::clone(&control),
            links,
            clocks,
            parts: group_parts,
            founding: Arc::new(Founding::default()),
            may_only_join: parts.may_only_join,
            folder: parts.watched_folder.clone(),
            comparison: Arc::clone(&comparison),
            tls,
        };
        let (stop, stopped) = watch::channel(false);
        let (failed, failures) = tokio::sync::mpsc::channel(8);
        let life = Life { stopped, failed: failed.clone() };
        let mut tasks = rooms.serve(listeners, &life);
        let metrics = rooms.serve_metrics(&mut tasks).await?;
        tasks.extend(rooms.keep(space(parts.watched_folder)));
        let timing = config.timing();
        let heartbeat = Duration::from_millis(timing.heartbeat_ms);
        tasks.push(tokio::spawn(Metronome::new(Arc::clone(&registry), heartbeat, timing.lease()).keep()));
        tasks.push(tokio::spawn(Vigil::new(Arc::clone(&registry), signs).keep()));
        tasks.push(rooms.join_cluster(failed));
        Ok(Node {
            own,
            addresses,
            metrics,
            admin,
            registry,
            control,
            comparison,
            writes: parts.writes,
            disk: parts.disk,
            tasks,
            failures,
            stop,
        })
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.own
    }

    /// Where it can be reached.
    pub fn addresses(&self) -> &NodeAddresses {
        &self.addresses
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// Where operators are served, if not where clients are.
    pub fn admin_address(&self) -> Option<&str> {
        self.admin.as_deref()
    }

    /// Its groups.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its control plane.
    pub fn control(&self) -> &Arc<ControlPlane> {
        &self.control
    }

    /// What came of comparing its tables with other nodes'.
    pub fn comparison(&self) -> &Arc<Comparison> {
        &self.comparison
    }

    /// Waits until the node fails by itself. Cancel safe.
    pub async fn failed(&mut self) -> NodeError {
        let writes = self.writes.clone();
        tokio::select! {
            error = writes.failed() => error.into(),
            () = writes.stalled(STALL_MAX) => {
                EngineError::Io(format!("a write has been hanging for {STALL_MAX:?}")).into()
            }
            why = self.disk.damaged() => EngineError::Corruption(why).into(),
            Some(error) = self.failures.recv() => error,
        }
    }

    /// Hands over what it leads, then stops: nobody waits for an election.
    pub async fn leave(self) {
        let clocks = self.control.clocks();
        let why = "this node stops";
        keeper::leadership::hand_over_all(&self.registry, clocks, why, GOODBYE_MAX).await;
        self.stop().await;
    }

    /// Stops serving, then stops the groups. What was acked is on disk.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        for group in self.registry.all() {
            self.registry.remove(group.id());
            // A group that hangs must not keep the process: its data needs no goodbye.
            let _ = tokio::time::timeout(Duration::from_secs(2), group.shutdown()).await;
        }
    }
}
