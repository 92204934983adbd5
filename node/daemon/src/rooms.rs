//! The rooms of a node and how they are wired: services on listeners, keepers, formation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_commitlog::Append;
use meridian_config::Config;
use meridian_deliver::subscription::DispatchBounds;
use meridian_dispatch::{PageBudget, Room};
use meridian_model::topology::NodeAddresses;
use meridian_model::{Clock, Incarnation, NodeId, UnixMs};
use meridian_proto::admin::admin_service_server::AdminServiceServer;
use meridian_proto::admin::subscription_service_server::SubscriptionServiceServer;
use meridian_proto::internal::peer_service_server::PeerServiceServer;
use meridian_proto::v1::metadata_service_server::MetadataServiceServer;
use meridian_proto::v1::publish_service_server::PublishServiceServer;
use meridian_proto::v1::read_service_server::ReadServiceServer;
use meridian_proto::v1::subscribe_service_server::SubscribeServiceServer;
use meridian_publish::{Admission, Anonymous, Health, Publisher};
use meridian_raft::network::{Links, RaftService};
use meridian_raft::{ClockBook, GroupParts, Registry};
use meridian_storage::WriterHandle;
use tokio::task::JoinHandle;

use crate::comparison::Comparison;
use crate::control_plane::ControlPlane;
use crate::formation::{Formation, Founding};
use crate::intake::Intake;
use crate::keeper::{DiskSpace, Keeper};
use crate::letterbox::Letterboxes;
use crate::listen::Bound;
use crate::node::NodeError;
use crate::probe::Prober;
use crate::routes::Routing;
use crate::server::{self, Life};
use crate::services::{
    Admin, DeadLetters, Forwarder, Metadata, Pages, Peer, Producers, Publish, Pullers, Read, Standings,
    Subscribe, Subscriptions, Ways,
};
use crate::tls::Tls;

/// Bytes from other nodes that the writer may be behind, where clients may not have fewer in flight.
const BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of batches that are kept for consumers, over all partitions.
const DISPATCHED_BYTES_MAX: usize = 128 * 1024 * 1024;

struct Backlog(WriterHandle);

impl Health for Backlog {
    fn backlog_bytes(&self) -> u64 {
        self.0.backlog_bytes()
    }
}

struct WallClock(Arc<ClockBook>);

impl Clock for WallClock {
    fn now(&self) -> UnixMs {
        self.0.now()
    }
}

/// The listeners of a node, bound.
pub(crate) struct Listeners {
    pub(crate) client: Bound,
    pub(crate) raft: Bound,
    /// Absent: operators are served where clients are.
    pub(crate) admin: Option<Bound>,
}

/// What services and keepers are made of.
pub(crate) struct Rooms {
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) config: Config,
    pub(crate) addresses: NodeAddresses,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) links: Arc<Links>,
    pub(crate) clocks: Arc<ClockBook>,
    pub(crate) parts: GroupParts,
    pub(crate) founding: Arc<Founding>,
    pub(crate) may_only_join: bool,
    /// The data folder, if there is one.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) comparison: Arc<Comparison>,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Rooms {
    fn routing(&self) -> Arc<Routing> {
        let (control, registry) = (Arc::clone(&self.control), Arc::clone(&self.registry));
        let (clocks, signs) = (Arc::clone(&self.clocks), Arc::clone(self.links.signs()));
        Arc::new(Routing::new(self.own, control, registry, clocks, signs))
    }

    fn publish(
        &self,
        routing: &Arc<Routing>,
        producers: &Arc<Producers>,
        forwarder: &Arc<Forwarder>,
    ) -> Publish {
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

    fn dispatch_room(&self) -> Arc<Room> {
        let letterbox = Letterboxes { control: Arc::clone(&self.control) };
        Room::new(
            Arc::clone(&self.registry) as _,
            Arc::clone(&self.registry) as _,
            Arc::new(WallClock(Arc::clone(&self.clocks))),
            Arc::new(letterbox),
            DispatchBounds::default(),
            PageBudget::new(DISPATCHED_BYTES_MAX),
        )
    }

    fn subscribe(&self, routing: &Arc<Routing>, room: &Arc<Room>) -> SubscribeServiceServer<Subscribe> {
        let (routing, room, links) = (Arc::clone(routing), Arc::clone(room), Arc::clone(&self.links));
        let ways = Ways { routing, room, links };
        SubscribeServiceServer::new(Subscribe { ways, pullers: Pullers::default() })
            .max_encoding_message_size(meridian_model::limits::RPC_BYTES_MAX)
    }

    fn dead_letters(&self, publish: &Publish, producers: &Arc<Producers>) -> DeadLetters {
        let (publish, producers) = (publish.clone(), Arc::clone(producers));
        let (registry, control) = (Arc::clone(&self.registry), Arc::clone(&self.control));
        DeadLetters { publish, producers, registry, control, fenced: Default::default() }
    }

    fn standings(&self, routing: &Arc<Routing>) -> Arc<Standings> {
        let (registry, links) = (Arc::clone(&self.registry), Arc::clone(&self.links));
        Arc::new(Standings { routing: Arc::clone(routing), registry, links })
    }

    /// What operators are served.
    fn administration(
        &self,
        routing: &Arc<Routing>,
        standings: &Arc<Standings>,
    ) -> (AdminServiceServer<Admin>, SubscriptionServiceServer<Subscriptions>) {
        let admin = Admin {
            control: Arc::clone(&self.control),
            routing: Arc::clone(routing),
            cluster_name: self.config.cluster.name.clone(),
        };
        let subscriptions = Subscriptions { admin: admin.clone(), standings: Arc::clone(standings) };
        (AdminServiceServer::new(admin), SubscriptionServiceServer::new(subscriptions))
    }

    /// What other nodes are served, beside what clients are.
    fn peer(
        &self,
        producers: Arc<Producers>,
        standings: Arc<Standings>,
        room: Arc<Room>,
    ) -> PeerServiceServer<Peer> {
        use meridian_model::limits::RPC_BYTES_MAX;
        PeerServiceServer::new(Peer {
            own: self.own,
            incarnation: self.incarnation,
            raft: RaftService::new(
                self.own,
                Arc::clone(&self.registry),
                Arc::clone(&self.links),
                BACKLOG_BYTES_MAX.min(self.config.limits.inflight_bytes as u64),
            ),
            links: Arc::clone(&self.links),
            control: Arc::clone(&self.control),
            founding: Arc::clone(&self.founding),
            producers,
            registry: Arc::clone(&self.registry),
            standings,
            room,
        })
        .max_decoding_message_size(RPC_BYTES_MAX)
        .max_encoding_message_size(RPC_BYTES_MAX)
    }

    /// Serves the listeners.
    pub(crate) fn serve(&self, listeners: Listeners, life: &Life) -> Vec<JoinHandle<()>> {
        use meridian_model::limits::RPC_BYTES_MAX;
        let routing = self.routing();
        let forwarder = Arc::new(Forwarder { links: Arc::clone(&self.links) });
        let producers = Arc::new(Producers {
            routing: Arc::clone(&routing),
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.registry),
            links: Arc::clone(&self.links),
        });
        let publish = self.publish(&routing, &producers, &forwarder);
        let dead_letters = self.dead_letters(&publish, &producers);
        let publish = PublishServiceServer::new(publish).max_decoding_message_size(RPC_BYTES_MAX);
        let read = ReadServiceServer::new(Read {
            registry: Arc::clone(&self.registry),
            routing: Arc::clone(&routing),
            forwarder,
            pages: Pages::new(self.config.limits.reading_bytes),
        })
        .max_encoding_message_size(RPC_BYTES_MAX);
        let room = self.dispatch_room();
        let subscribe = self.subscribe(&routing, &room);
        let standings = self.standings(&routing);
        let (admin, subscriptions) = self.administration(&routing, &standings);
        let metadata = MetadataServiceServer::new(Metadata { routing });
        let peer = self.peer(producers, standings, room);
        let (reporter, health) = tonic_health::server::health_reporter();
        let status = tokio::spawn(report_health(reporter, Arc::clone(&self.control)));
        let limits = &self.config.limits;
        let intake = Intake::new(limits);
        let clients = server::for_clients(limits, &intake).add_service(health.clone());
        let clients = clients.add_service(publish.clone()).add_service(read.clone());
        let clients =
            clients.add_service(metadata).add_service(subscribe.clone()).add_optional_service(reflection());
        let nodes = server::for_nodes(limits)
            .add_service(peer)
            .add_service(publish)
            .add_service(read)
            .add_service(subscribe);
        let tls = self.tls.as_ref();
        let for_clients = server::client_entrance(limits, tls);
        let mut tasks = vec![status, tokio::spawn(dead_letters.keep())];
        tasks.push(server::run(server::raft_entrance(limits, tls), nodes, listeners.raft, life));
        match listeners.admin {
            None => {
                let clients = clients.add_service(admin).add_service(subscriptions);
                tasks.push(server::run(for_clients, clients, listeners.client, life));
            }
            Some(bound) => {
                let operators = server::for_clients(limits, &intake).add_service(health);
                let operators = operators.add_service(admin).add_service(subscriptions);
                let operators = operators.add_optional_service(reflection());
                tasks.push(server::run(for_clients, clients, listeners.client, life));
                tasks.push(server::run(server::admin_entrance(limits, tls), operators, bound, life));
            }
        }
        tasks.extend(tls.map(Tls::watch));
        tasks
    }

    pub(crate) async fn serve_metrics(
        &self,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Result<Option<String>, NodeError> {
        let Some(address) = self.config.listen.metrics.clone() else { return Ok(None) };
        let failed = |error| NodeError::Listen { key: "listen.metrics", address: address.clone(), error };
        let listener = tokio::net::TcpListener::bind(&address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?.to_string();
        let source = crate::telemetry::metrics::Source {
            registry: Arc::clone(&self.registry),
            parts: self.parts.clone(),
            comparison: Arc::clone(&self.comparison),
        };
        let router = crate::telemetry::metrics::router(source);
        tasks.push(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the metrics listener stopped");
            }
        }));
        Ok(Some(bound))
    }

    pub(crate) fn keep(&self, disk: Arc<dyn DiskSpace>) -> Vec<JoinHandle<()>> {
        let keeper = Keeper {
            own: self.own,
            incarnation: self.incarnation,
            control: Arc::clone(&self.control),
            registry: Arc::clone(&self.registry),
            parts: self.parts.clone(),
            storage: self.config.storage,
            membership: self.config.membership,
            disk,
            prober: self.prober(),
            folder: self.folder.clone(),
            comparison: Arc::clone(&self.comparison),
        };
        keeper.spawn()
    }

    fn prober(&self) -> Prober {
        Prober {
            own: self.own,
            incarnation: self.incarnation,
            cluster_name: self.config.cluster.name.clone(),
            links: Arc::clone(&self.links),
        }
    }

    pub(crate) fn join_cluster(self, failed: tokio::sync::mpsc::Sender<NodeError>) -> JoinHandle<()> {
        let formation = Formation {
            prober: self.prober(),
            own: self.own,
            incarnation: self.incarnation,
            addresses: self.addresses,
            config: self.config,
            parts: self.parts,
            registry: self.registry,
            control: self.control,
            founding: self.founding,
            may_only_join: self.may_only_join,
            folder: self.folder,
        };
        tokio::spawn(async move {
            if let Err(error) = formation.run().await {
                // The receiver lives as long as the node.
                let _ = failed.send(NodeError::Control(error)).await;
            }
        })
    }
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
            for service in [
                "",
                "meridian.v1.PublishService",
                "meridian.v1.ReadService",
                "meridian.v1.SubscribeService",
                "meridian.admin.v1.AdminService",
                "meridian.admin.v1.SubscriptionService",
            ] {
                reporter.set_service_status(service, status).await;
            }
            was = Some(ready);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
