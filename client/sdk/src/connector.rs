//! The seam to the network: who makes a channel to a node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::transport::{Channel, Endpoint};

const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Why no channel could be made. Clonable, because several operations may wait for one connection.
pub type ConnectError = Arc<dyn std::error::Error + Send + Sync>;

/// Makes channels. The default is [`TcpConnector`]; a simulator brings its own, and so does a test.
///
/// A closure `Fn(String) -> impl Future<Output = Result<Channel, ConnectError>>` is a connector.
pub trait Connector: Send + Sync + 'static {
    /// A connected channel to `address` (`host:port`, without scheme). Must end by itself within seconds
    /// when the node cannot be reached. May be dropped at any point.
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Channel, ConnectError>>;
}

impl<F, Fut> Connector for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Channel, ConnectError>> + Send + 'static,
{
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Channel, ConnectError>> {
        self(address).boxed()
    }
}

/// TCP by way of tonic's own connector.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Channel, ConnectError>> {
        async move {
            let endpoint = default_endpoint(&address)?;
            endpoint.connect().await.map_err(|error| Arc::new(error) as ConnectError)
        }
        .boxed()
    }
}

/// The endpoint as [`TcpConnector`] sets it up (keepalive 5 s, connect timeout 3 s, windows of 4 MiB a stream
/// and 16 MiB a connection), for connectors that only replace the socket.
pub fn default_endpoint(address: &str) -> Result<Endpoint, ConnectError> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|e| Arc::new(e) as ConnectError)?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}
