//! The simulated network as the product's ports want it: listeners, dials, and the client's connector.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use meridian_daemon::listen::{Accepted, Bound, Listen};
use meridian_model::NodeId;
use meridian_raft::network::{Dial, endpoint};
use meridian_sdk::{ConnectError, Connector, default_endpoint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{Event, Trace};

/// A connection attempt into a cut network hears nothing: longer than any connect timeout of the product.
const SILENCE: Duration = Duration::from_secs(5);

/// One host's way into the network.
#[derive(Clone)]
pub(crate) struct Net {
    host: Arc<str>,
    trace: Arc<Trace>,
}

impl Net {
    pub(crate) fn new(host: Arc<str>, trace: Arc<Trace>) -> Self {
        Self { host, trace }
    }

    fn traced(&self, stream: TcpStream) -> Traced {
        let end = |address: io::Result<std::net::SocketAddr>| {
            address.map_or_else(|_| "?".into(), |a| a.to_string())
        };
        let place = format!("{} {}>{}", self.host, end(stream.local_addr()), end(stream.peer_addr()));
        Traced { stream, place, trace: Arc::clone(&self.trace) }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Traced>> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        match TcpStream::connect(authority).await {
            Ok(stream) => Ok(TokioIo::new(self.traced(stream))),
            Err(error) => {
                // The simulator tells at once that a segment was dropped; a real network would not.
                tokio::time::sleep(SILENCE).await;
                Err(error)
            }
        }
    }

    /// A channel over this network that connects when it is first used.
    pub(crate) fn lazy(&self, endpoint: &Endpoint) -> Channel {
        let net = self.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| net.clone().connect(uri)))
    }
}

impl Dial for Net {
    fn channel(&self, _node: NodeId, address: &str) -> Result<Channel, tonic::transport::Error> {
        Ok(self.lazy(&endpoint(address)?))
    }
}

impl Connector for Net {
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Channel, ConnectError>> {
        let net = self.clone();
        async move {
            let endpoint = default_endpoint(&address)?;
            let connector = tower::service_fn(move |uri| net.clone().connect(uri));
            let connected = endpoint.connect_with_connector(connector).await;
            connected.map_err(|error| Arc::new(error) as ConnectError)
        }
        .boxed()
    }
}

#[async_trait]
impl Listen for Net {
    async fn bind(&self, address: &str) -> io::Result<Bound> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let port =
            port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an address is host:port"))?;
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        let incoming = futures::stream::unfold((listener, self.clone()), |(listener, net)| async move {
            let accepted = listener
                .accept()
                .await
                .map(|(stream, from)| Accepted::new(net.traced(stream)).from(from.ip()));
            Some((accepted, (listener, net)))
        });
        Ok(Bound { address: address.to_owned(), incoming: Box::pin(incoming) })
    }
}

/// A connection whose bytes go into the trace.
pub(crate) struct Traced {
    stream: TcpStream,
    place: String,
    trace: Arc<Trace>,
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.trace.record(Event::Read, &self.place, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Traced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.trace.record(Event::Write, &self.place, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
