//! How another node is reached: a port, so that a simulation can bring its own network.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use meridian_model::NodeId;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Makes channels to nodes. A channel connects lazily and reconnects by itself.
pub trait Dial: Send + Sync + 'static {
    /// A channel to this node, which is to be found at `host:port`.
    fn channel(&self, node: NodeId, address: &str) -> Result<Channel, tonic::transport::Error>;
}

/// Over TCP. Whoever answers is believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

/// An endpoint with the settings that node-to-node traffic needs, for dials that only replace the socket.
pub fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true))
}

impl Dial for TcpDial {
    fn channel(&self, _node: NodeId, address: &str) -> Result<Channel, tonic::transport::Error> {
        Ok(endpoint(address)?.connect_lazy())
    }
}

/// Who this node is and how it knows others. Asked anew for each connection, so that new certificates count at
/// once.
pub trait Credentials: Send + Sync + 'static {
    /// The certificate to show and the authorities to believe.
    fn config(&self) -> Arc<ClientConfig>;

    /// The name that the certificate of `node` must carry.
    fn name(&self, node: NodeId) -> Result<ServerName<'static>, String>;
}

/// Over TLS. Both sides show a certificate, and the one that answers must be the node that was meant.
#[derive(Clone)]
pub struct TlsDial {
    credentials: Arc<dyn Credentials>,
}

impl TlsDial {
    /// A dial that shows these.
    pub fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials }
    }

    async fn connect(self, node: NodeId, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        let name = self.credentials.name(node).map_err(io::Error::other)?;
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let secured = async {
            let connector = TlsConnector::from(self.credentials.config());
            let mut stream = connector.connect(name, stream).await?;
            // The peer judges our certificate after the handshake has ended for us: what it says first tells.
            stream.fill_buf().await?;
            Ok(stream)
        };
        match secured.await {
            Ok(stream) => Ok(TokioIo::new(stream)),
            Err(error) => {
                let error = in_words(error);
                tracing::warn!(%node, address, %error, "no TLS with this node");
                Err(error)
            }
        }
    }
}

/// What TLS says of certificates, in words for whoever set them up.
fn in_words(error: io::Error) -> io::Error {
    use rustls::Error as Tls;
    let words = match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::AlertReceived(alert)) => {
            format!(
                "it refused this node's certificate: {alert:?}; check tls.certificate here and tls.ca there"
            )
        }
        Some(Tls::InvalidCertificate(why)) => {
            format!("its certificate is refused: {why}; check tls.ca here and tls.certificate there")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

impl Dial for TlsDial {
    fn channel(&self, node: NodeId, address: &str) -> Result<Channel, tonic::transport::Error> {
        let dial = self.clone();
        let connector = tower::service_fn(move |uri| dial.clone().connect(node, uri));
        Ok(endpoint(address)?.connect_with_connector_lazy(connector))
    }
}
