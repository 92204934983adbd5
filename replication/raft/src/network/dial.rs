//! How another node is reached: a port, so that a simulation can bring its own network.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// Makes channels to addresses. A channel connects lazily and reconnects by itself.
pub trait Dial: Send + Sync + 'static {
    /// A channel to `host:port`.
    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error>;
}

/// Over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

/// An endpoint with the settings that node-to-node traffic needs, for dials that only replace the socket.
pub fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true))
}

impl Dial for TcpDial {
    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        Ok(endpoint(address)?.connect_lazy())
    }
}
