//! TLS of a client: whom it believes, and who it says it is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, InvalidMessage, RootCertStore};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector as Handshake;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Uri};

use crate::Error;
use crate::connector::{ConnectError, Connector, default_endpoint};

/// TLS of a client. Cheap to clone. TLS 1.3, over the certificates given here; those of the system do not count.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<rustls::ClientConfig>,
}

/// A certificate chain and its private key, PEM.
#[derive(Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// The certificate first, then those between it and the authority.
    pub chain: &'a [u8],
    /// The key.
    pub key: &'a [u8],
}

impl ClientTls {
    /// Believes nodes whose certificates come from `ca` (PEM, one authority or several), and shows `certificate`
    /// where a node asks for one.
    pub fn from_pem(ca: &[u8], certificate: Option<ClientCertificate<'_>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls_ca", ca)? {
            roots.add(authority).map_err(|error| Error::invalid("tls_ca", error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Error::invalid("tls_ca", error))?
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let chain = certificates("tls_certificate", shown.chain)?;
                let key = PrivateKeyDer::from_pem_slice(shown.key)
                    .map_err(|error| Error::invalid("tls_key", format!("no private key: {error}")))?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| Error::invalid("tls_key", error))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    /// The same from files: `certificate` is the chain and the key.
    pub fn from_files(ca: &Path, certificate: Option<(&Path, &Path)>) -> Result<Self, Error> {
        let read = |field, path: &Path| {
            std::fs::read(path).map_err(|error| Error::invalid(field, format!("{}: {error}", path.display())))
        };
        let ca = read("tls_ca", ca)?;
        let Some((chain, key)) = certificate else { return Self::from_pem(&ca, None) };
        let (chain, key) = (read("tls_certificate", chain)?, read("tls_key", key)?);
        Self::from_pem(&ca, Some(ClientCertificate { chain: &chain, key: &key }))
    }

    async fn secure(self, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_string();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| io::Error::other(format!("{host:?} is neither a host name nor an address")))?;
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let mut stream = Handshake::from(self.config).connect(name, stream).await.map_err(in_words)?;
        // The node judges our certificate after the handshake has ended for us: what it says first tells.
        stream.fill_buf().await.map_err(in_words)?;
        Ok(TokioIo::new(stream))
    }
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| Error::invalid(field, error))?;
    match found.is_empty() {
        true => Err(Error::invalid(field, "there is no certificate in it")),
        false => Ok(found),
    }
}

/// What TLS says, in words for whoever set it up.
fn in_words(error: io::Error) -> io::Error {
    use rustls::Error as Tls;
    let words = match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "it does not speak TLS; connect without, or to another port".to_string()
        }
        Some(Tls::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the node asks for a client certificate, and none was given".to_string()
        }
        Some(Tls::AlertReceived(alert)) if is_about_certificates(*alert) => {
            format!("the node refused this client's certificate: {alert:?}")
        }
        Some(Tls::AlertReceived(alert)) => format!("the node ended the TLS handshake: {alert:?}"),
        Some(Tls::InvalidCertificate(why)) => format!("the node's certificate is refused: {why}"),
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

/// Whether a node says this when it has looked at a certificate (RFC 8446, section 6.2).
fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown,
        DecryptError, UnknownCA, UnsupportedCertificate,
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate
    )
}

impl Connector for ClientTls {
    fn connect(&self, address: String) -> BoxFuture<'static, Result<Channel, ConnectError>> {
        let tls = self.clone();
        async move {
            let endpoint = default_endpoint(&address)?;
            let connector = tower::service_fn(move |uri| tls.clone().secure(uri));
            let connected = endpoint.connect_with_connector(connector).await;
            connected.map_err(|error| Arc::new(error) as ConnectError)
        }
        .boxed()
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_a_certificate_is_blamed_on_it() {
        let said = |alert| {
            in_words(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert)))
                .to_string()
        };
        for alert in [AlertDescription::UnknownCA, AlertDescription::AccessDenied] {
            let said = said(alert);
            assert!(said.contains("refused this client's certificate"), "{said}");
        }
        for alert in [AlertDescription::ProtocolVersion, AlertDescription::InternalError] {
            let said = said(alert);
            assert!(said.contains(&format!("ended the TLS handshake: {alert:?}")), "{said}");
        }
        assert!(said(AlertDescription::CertificateRequired).contains("none was given"));
    }
}
