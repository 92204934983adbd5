//! Between nodes: who may come in on the raft listener, and how another node is known when it is dialed.

use std::sync::Arc;

use meridian_model::NodeId;
use meridian_raft::network::Credentials;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::{Tls, names};
use crate::entrance::{Greeter, Peer};

/// Accepts certificates of the authority that name a node of this cluster.
#[derive(Debug)]
pub(super) struct OnlyNodes {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) cluster: String,
}

impl ClientCertVerifier for OnlyNodes {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        match names::nodes_in(end_entity, &self.cluster).is_empty() {
            true => Err(CertificateError::ApplicationVerificationFailure.into()),
            false => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The raft listener's side.
pub(crate) struct ForNodes(pub(crate) Arc<Tls>);

impl Greeter for ForNodes {
    fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.0.current.read().for_nodes)
    }

    fn peer(&self, certificate: &CertificateDer<'_>) -> Peer {
        Peer::known(names::nodes_in(certificate, &self.0.cluster))
    }

    fn explain(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                format!("its certificate names no node of cluster {:?}", self.0.cluster)
            }
            rustls::Error::NoCertificatesPresented => "nodes show a certificate, and it has none".into(),
            other => other.to_string(),
        }
    }
}

/// The dialing side.
impl Credentials for Tls {
    fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.read().dialing)
    }

    fn name(&self, node: NodeId) -> Result<ServerName<'static>, String> {
        let name = names::node_name(node, &self.cluster);
        ServerName::try_from(name.clone()).map_err(|_| format!("{name} is no host name"))
    }
}
