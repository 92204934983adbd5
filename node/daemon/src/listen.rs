//! Listening as a port, so that a simulation can bring its own network.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;

/// Bytes in and out.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An accepted connection.
pub struct Accepted(pub Box<dyn Io>);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
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
            Ok(Accepted(Box::new(stream)))
        });
        Ok(Bound { address, incoming: Box::pin(incoming) })
    }
}
