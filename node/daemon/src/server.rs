//! The gRPC servers of a node: what the bounds of the configuration become in each.

use std::sync::Arc;
use std::time::Duration;

use meridian_config::LimitsConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use crate::entrance::{Bounds, Entrance, Greeter};
use crate::intake::Intake;
use crate::listen::Bound;
use crate::node::NodeError;
use crate::tls::{ForClients, ForNodes, Tls};

/// Names and values of one request's headers together, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a client may open and give up before the server has looked at them.
const GIVEN_UP_MAX: usize = 20;
/// Streams that the server refused on one connection before it hangs up.
const REFUSED_MAX: usize = 1_024;

/// The largest HTTP/2 frame from a client: each is a read and a buffer, and the buffer is there before anything is
/// known of the request.
const CLIENT_FRAME_BYTES_MAX: u32 = 64 * 1024;
/// The same from a node: fewer and larger ones take less work.
const NODE_FRAME_BYTES_MAX: u32 = 256 * 1024;

/// A server whose requests are counted.
pub(crate) type Metered = Server<Stack<Intake, Identity>>;

/// A server with windows and frames of so many bytes.
fn server(limits: &LimitsConfig, window_bytes: u32, frame_bytes_max: u32) -> Server {
    let keepalive = Some(Duration::from_millis(limits.keepalive_ms));
    Server::builder()
        .initial_stream_window_size(window_bytes)
        .initial_connection_window_size(window_bytes)
        .max_frame_size(frame_bytes_max)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_keepalive_interval(keepalive)
        .http2_keepalive_timeout(keepalive)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP_MAX))
        .http2_max_local_error_reset_streams(Some(REFUSED_MAX))
}

/// For clients and operators.
pub(crate) fn for_clients(limits: &LimitsConfig, intake: &Intake) -> Metered {
    server(limits, limits.client_window(), CLIENT_FRAME_BYTES_MAX)
        .timeout(Duration::from_millis(limits.request_ms_max))
        .layer(intake.clone())
}

/// For nodes. They are few and bound their own load; what clients do takes nothing here.
pub(crate) fn for_nodes(limits: &LimitsConfig) -> Server {
    server(limits, limits.raft_window(), NODE_FRAME_BYTES_MAX)
}

fn bounds(limits: &LimitsConfig, connections_max: usize, per_address_max: usize) -> Bounds {
    Bounds {
        connections_max,
        per_address_max,
        handshake_max: Duration::from_millis(limits.handshake_ms_max),
        idle_max: Duration::from_millis(limits.idle_ms_max),
        control_frames_per_second_max: limits.control_frames_per_second_max,
    }
}

/// The entrance of the client listener.
pub(crate) fn client_entrance(limits: &LimitsConfig, tls: Option<&Arc<Tls>>) -> Entrance {
    let bounds = bounds(limits, limits.client_connections_max, limits.client_connections_per_address_max);
    Entrance { name: "client", bounds, greeter: tls.map(for_clients_of) }
}

/// The entrance of the admin listener.
pub(crate) fn admin_entrance(limits: &LimitsConfig, tls: Option<&Arc<Tls>>) -> Entrance {
    let bounds = bounds(limits, limits.admin_connections_max, limits.admin_connections_max);
    Entrance { name: "admin", bounds, greeter: tls.map(for_clients_of) }
}

/// The entrance of the raft listener.
pub(crate) fn raft_entrance(limits: &LimitsConfig, tls: Option<&Arc<Tls>>) -> Entrance {
    let bounds = bounds(limits, limits.raft_connections_max, limits.raft_connections_per_address_max);
    let greeter = tls.map(|tls| Arc::new(ForNodes(Arc::clone(tls))) as Arc<dyn Greeter>);
    // Nodes keep connections that they will need when something happens.
    Entrance { name: "raft", bounds: Bounds { idle_max: NEVER, ..bounds }, greeter }
}

/// Longer than any node runs.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn for_clients_of(tls: &Arc<Tls>) -> Arc<dyn Greeter> {
    Arc::new(ForClients(Arc::clone(tls)))
}

/// What a server stops on, and whom it tells that it stopped by itself.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) failed: mpsc::Sender<NodeError>,
}

/// Serves what comes through the entrance.
pub(crate) fn run<L>(entrance: Entrance, router: Router<L>, bound: Bound, life: &Life) -> JoinHandle<()>
where
    L: tower::Layer<tonic::service::Routes> + Send + 'static,
    L::Service: tower::Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>
        + Clone
        + Send
        + 'static,
    <L::Service as tower::Service<http::Request<tonic::body::Body>>>::Future: Send,
    <L::Service as tower::Service<http::Request<tonic::body::Body>>>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let Life { mut stopped, failed } = life.clone();
    let name = entrance.name;
    tokio::spawn(async move {
        let stop = async move {
            // The node was dropped: stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if let Err(error) = router.serve_with_incoming_shutdown(entrance.open(bound), stop).await {
            let _ = failed.send(NodeError::Server(name, error.to_string())).await;
        }
    })
}
