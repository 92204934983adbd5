//! Listening as a port, so that a simulation can bring its own network.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;

/// Bytes in and out.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that came, as the network delivered it: nothing is known of it but from where.
pub struct Accepted {
    /// Its bytes.
    pub io: Box<dyn Io>,
    /// Where it comes from, where the network says so. Connections without are not counted by address.
    pub remote: Option<IpAddr>,
}

impl Accepted {
    /// A connection from nobody knows where.
    pub fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), remote: None }
    }

    /// The same connection, from this address.
    pub fn from(self, remote: IpAddr) -> Self {
        Self { remote: Some(remote), ..self }
    }
}

/// A bound listener.
pub struct Bound {
    /// Where it listens, port filled in.
    pub address: String,
    /// The connections that come.
    pub incoming: BoxStream<'static, io::Result<Accepted>>,
}

/// Makes listeners.
#[async_trait]
pub trait Listen: Send + Sync + 'static {
    /// Listens on `host:port`.
    async fn bind(&self, address: &str) -> io::Result<Bound>;
}

/// Over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpListen;

#[async_trait]
impl Listen for TcpListen {
    async fn bind(&self, address: &str) -> io::Result<Bound> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        let incoming = TcpListenerStream::new(listener).map(|accepted| {
            let stream = accepted?;
            // Small frames must not wait for each other.
            stream.set_nodelay(true)?;
            let remote = stream.peer_addr()?.ip();
            Ok(Accepted::new(stream).from(remote))
        });
        Ok(Bound { address, incoming: Box::pin(incoming) })
    }
}
