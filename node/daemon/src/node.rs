//! A node: its rooms, wired. Everything that touches the world comes in through [`NodeParts`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_commitlog::Append;
use meridian_model::topology::NodeAddresses;
use meridian_model::{Clock, Incarnation, NodeId};
use meridian_proto::admin::admin_service_server::AdminServiceServer;
use meridian_proto::internal::peer_service_server::PeerServiceServer;
use meridian_proto::v1::metadata_service_server::MetadataServiceServer;
use meridian_proto::v1::publish_service_server::PublishServiceServer;
use meridian_proto::v1::read_service_server::ReadServiceServer;
use meridian_publish::{Admission, Anonymous, Health, Publisher};
use meridian_raft::log_store::TailBudget;
use meridian_raft::network::{AddressBook, Dial, Links, RaftService};
use meridian_raft::{ClockBook, GroupParts, Registry};
use meridian_storage::{Disk, EngineError, Writer, WriterHandle};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;

use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::formation::{Formation, Founding};
use crate::keeper::{DiskSpace, Endless, FileSystem, Keeper};
use crate::listen::{Bound, Listen};
use crate::routes::Routing;
use crate::services::{Admin, Forwarder, Metadata, Peer, Producers, Publish, Read};

const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const STREAMS_MAX: u32 = 1_024;

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
    /// How other nodes are reached.
    pub dial: Arc<dyn Dial>,
    /// How this node is reached.
    pub listen: Arc<dyn Listen>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// This life of the disk.
    pub incarnation: Incarnation,
    /// Whose space to watch. `None`: a disk without end.
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
    registry: Arc<Registry>,
    control: Arc<ControlPlane>,
    writes: WriterHandle,
    disk: Disk,
    tasks: Vec<JoinHandle<()>>,
    failures: tokio::sync::mpsc::Receiver<NodeError>,
    stop: watch::Sender<bool>,
}

struct Backlog(WriterHandle);

impl Health for Backlog {
    fn backlog_bytes(&self) -> u64 {
        self.0.backlog_bytes()
    }
}

async fn bind(listen: &Arc<dyn Listen>, key: &'static str, address: &str) -> Result<Bound, NodeError> {
    let bound = listen.bind(address).await;
    bound.map_err(|error| NodeError::Listen { key, address: address.to_string(), error })
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
        let client = bind(&parts.listen, "listen.client", &config.listen.client).await?;
        let raft = bind(&parts.listen, "listen.raft", &config.listen.raft).await?;
        let addresses = NodeAddresses {
            client: config.listen.advertise_client.clone().unwrap_or_else(|| client.address.clone()),
            raft: config.listen.advertise_raft.clone().unwrap_or_else(|| raft.address.clone()),
        };
        start_writer(parts.writer, parts.writer_thread).map_err(NodeError::Control)?;
        let clocks = ClockBook::new(own, Arc::clone(&parts.clock));
        let book = Arc::new(AddressBook::default());
        for node in &config.cluster.nodes {
            book.set(NodeId(node.id), &node.raft);
        }
        book.set(own, &addresses.raft);
        let links = Links::new(own, parts.dial, book, Arc::clone(&clocks));
        let group_parts = GroupParts {
            writer: parts.writes.clone(),
            disk: parts.disk.clone(),
            budget: TailBudget::new(config.raft.tail_bytes),
            links: Arc::clone(&links),
            clocks: Arc::clone(&clocks),
            config: config.timing(),
        };
        let registry = Arc::new(Registry::default());
        let control = ControlPlane::new(own, Arc::clone(&registry), Arc::clone(&links));
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
        };
        let (stop, stopped) = watch::channel(false);
        let (failed, failures) = tokio::sync::mpsc::channel(8);
        let mut tasks = rooms.serve(client, raft, &stopped, &failed);
        let metrics = rooms.serve_metrics(&mut tasks).await?;
        let space: Arc<dyn DiskSpace> = match parts.watched_folder {
            Some(folder) => Arc::new(FileSystem(folder)),
            None => Arc::new(Endless),
        };
        tasks.extend(rooms.keep(space));
        tasks.push(rooms.join_cluster(failed));
        Ok(Node { own, addresses, metrics, registry, control, writes: parts.writes, disk: parts.disk, tasks, failures, stop })
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

    /// Its groups.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its control plane.
    pub fn control(&self) -> &Arc<ControlPlane> {
        &self.control
    }

    /// Waits until the node fails by itself. Cancel safe.
    pub async fn failed(&mut self) -> NodeError {
        let writes = self.writes.clone();
        tokio::select! {
            error = writes.failed() => error.into(),
            why = self.disk.damaged() => EngineError::Corruption(why).into(),
            Some(error) = self.failures.recv() => error,
        }
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

/// What services and keepers are made of.
struct Rooms {
    own: NodeId,
    incarnation: Incarnation,
    config: Config,
    addresses: NodeAddresses,
    registry: Arc<Registry>,
    control: Arc<ControlPlane>,
    links: Arc<Links>,
    clocks: Arc<ClockBook>,
    parts: GroupParts,
    founding: Arc<Founding>,
}

impl Rooms {
    fn routing(&self) -> Arc<Routing> {
        Arc::new(Routing {
            own: self.own,
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.registry),
            clocks: Arc::clone(&self.clocks),
        })
    }

    fn publish(&self, routing: &Arc<Routing>, producers: &Arc<Producers>, forwarder: &Arc<Forwarder>) -> Publish {
        let health = Arc::new(Backlog(self.parts.writer.clone()));
        let limits = self.config.limits;
        let admission = Admission::new(limits.inflight_bytes, limits.inflight_bytes as u64, health);
        let log: Arc<dyn Append> = Arc::clone(&self.registry) as _;
        let publisher = Publisher::new(Arc::new(Anonymous), admission, Arc::clone(routing) as _, log);
        Publish {
            publisher: Arc::new(publisher),
            producers: Arc::clone(producers),
            routing: Arc::clone(routing),
            forwarder: Arc::clone(forwarder),
            stream_credit_bytes: limits.stream_credit_bytes,
        }
    }

    /// Serves the client and the raft listener.
    fn serve(
        &self,
        client: Bound,
        raft: Bound,
        stopped: &watch::Receiver<bool>,
        failed: &tokio::sync::mpsc::Sender<NodeError>,
    ) -> Vec<JoinHandle<()>> {
        use meridian_model::limits::RPC_BYTES_MAX;
        let routing = self.routing();
        let forwarder = Arc::new(Forwarder { links: Arc::clone(&self.links) });
        let producers = Arc::new(Producers {
            routing: Arc::clone(&routing),
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.registry),
            links: Arc::clone(&self.links),
        });
        let publish = PublishServiceServer::new(self.publish(&routing, &producers, &forwarder))
            .max_decoding_message_size(RPC_BYTES_MAX);
        let read = ReadServiceServer::new(Read {
            registry: Arc::clone(&self.registry),
            routing: Arc::clone(&routing),
            forwarder,
        })
        .max_encoding_message_size(RPC_BYTES_MAX);
        let admin = AdminServiceServer::new(Admin {
            control: Arc::clone(&self.control),
            routing: Arc::clone(&routing),
            cluster_name: self.config.cluster.name.clone(),
        });
        let metadata = MetadataServiceServer::new(Metadata { routing });
        let peer = PeerServiceServer::new(Peer {
            own: self.own,
            incarnation: self.incarnation,
            cluster_name: self.config.cluster.name.clone(),
            raft: RaftService::new(self.own, Arc::clone(&self.registry), Arc::clone(&self.links)),
            links: Arc::clone(&self.links),
            control: Arc::clone(&self.control),
            founding: Arc::clone(&self.founding),
            producers,
        })
        .max_decoding_message_size(RPC_BYTES_MAX)
        .max_encoding_message_size(RPC_BYTES_MAX);
        let (reporter, health) = tonic_health::server::health_reporter();
        let status = tokio::spawn(report_health(reporter, Arc::clone(&self.control)));
        let clients = server().add_service(health).add_service(publish.clone()).add_service(read.clone());
        let clients = clients.add_service(admin).add_service(metadata).add_optional_service(reflection());
        let nodes = server().add_service(peer).add_service(publish).add_service(read);
        vec![
            status,
            run("client", clients, client, stopped.clone(), failed.clone()),
            run("raft", nodes, raft, stopped.clone(), failed.clone()),
        ]
    }

    async fn serve_metrics(&self, tasks: &mut Vec<JoinHandle<()>>) -> Result<Option<String>, NodeError> {
        let Some(address) = self.config.listen.metrics.clone() else { return Ok(None) };
        let failed = |error| NodeError::Listen { key: "listen.metrics", address: address.clone(), error };
        let listener = tokio::net::TcpListener::bind(&address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?.to_string();
        let source =
            crate::telemetry::metrics::Source { registry: Arc::clone(&self.registry), parts: self.parts.clone() };
        let router = crate::telemetry::metrics::router(source);
        tasks.push(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the metrics listener stopped");
            }
        }));
        Ok(Some(bound))
    }

    fn keep(&self, disk: Arc<dyn DiskSpace>) -> Vec<JoinHandle<()>> {
        let keeper = Keeper {
            own: self.own,
            incarnation: self.incarnation,
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.registry),
            parts: self.parts.clone(),
            storage: self.config.storage,
            disk,
        };
        keeper.spawn()
    }

    fn join_cluster(self, failed: tokio::sync::mpsc::Sender<NodeError>) -> JoinHandle<()> {
        let formation = Formation {
            own: self.own,
            incarnation: self.incarnation,
            addresses: self.addresses,
            config: self.config,
            parts: self.parts,
            registry: self.registry,
            control: self.control,
            founding: self.founding,
        };
        tokio::spawn(async move {
            if let Err(error) = formation.run().await {
                // The receiver lives as long as the node.
                let _ = failed.send(NodeError::Control(error)).await;
            }
        })
    }
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

/// What the server can tell a client about itself.
fn reflection() -> Option<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
> {
    let builder = tonic_reflection::server::Builder::configure();
    let built = builder
        .register_encoded_file_descriptor_set(meridian_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    built.inspect_err(|error| tracing::warn!(%error, "server reflection is not available")).ok()
}

/// Serving means: this node knows the cluster. Quorums are not asked: that would make restarts wait for each other.
async fn report_health(reporter: tonic_health::server::HealthReporter, control: Arc<ControlPlane>) {
    use tonic_health::ServingStatus;
    let mut was = None;
    loop {
        let ready = control.look(|machine| machine.cluster_id().is_some()) == Some(true);
        if was != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in ["", "meridian.v1.PublishService", "meridian.v1.ReadService", "meridian.admin.v1.AdminService"] {
                reporter.set_service_status(service, status).await;
            }
            was = Some(ready);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn run(
    name: &'static str,
    router: tonic::transport::server::Router,
    bound: Bound,
    mut stopped: watch::Receiver<bool>,
    failed: tokio::sync::mpsc::Sender<NodeError>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let stop = async move {
            // The node was dropped: stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if let Err(error) = router.serve_with_incoming_shutdown(bound.incoming, stop).await {
            let _ = failed.send(NodeError::Server(name, error.to_string())).await;
        }
    })
}
