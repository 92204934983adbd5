//! The client and the admin listener's side.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::Tls;
use crate::entrance::{Greeter, Peer};

/// Greets clients and operators.
pub(crate) struct ForClients(pub(crate) Arc<Tls>);

impl Greeter for ForClients {
    fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.0.current.read().for_clients)
    }

    fn peer(&self, _certificate: &CertificateDer<'_>) -> Peer {
        // Nobody speaks for a node here.
        Peer::known(Vec::new())
    }

    fn explain(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::NoCertificatesPresented => {
                "clients show a certificate (tls.client_certificates), and it has none".into()
            }
            other => other.to_string(),
        }
    }
}
