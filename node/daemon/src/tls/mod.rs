//! TLS of a node: its certificate and its authorities, read anew when the files change.
//!
//! Clients may show a certificate, if the configuration asks for it. Nodes always do: theirs carries the DNS name
//! `node-{id}.{cluster}.meridian`, by which the dialing side knows whom it reached and the accepting side who came.

mod clients;
mod files;
mod names;
mod nodes;
mod reload;

use std::sync::Arc;

use meridian_model::NodeId;
use parking_lot::RwLock;
use rustls::client::Resumption;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use files::Files;
use meridian_config::{ClientCertificates, TlsConfig};
use reload::Stamps;

pub(crate) use clients::ForClients;
pub use names::node_name;
pub(crate) use nodes::ForNodes;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{key}: {path}: {why}")]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The files do not fit together.
    #[error("tls: {0}")]
    Unfit(String),
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The TLS of one node.
pub struct Tls {
    config: TlsConfig,
    cluster: String,
    own: NodeId,
    /// The files as they were before they were loaded.
    loaded: Stamps,
    current: RwLock<Current>,
}

/// What the files said when they were last read and made sense.
#[derive(Clone)]
struct Current {
    for_clients: Arc<ServerConfig>,
    for_nodes: Arc<ServerConfig>,
    dialing: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files, which takes its time. Fails where they do not fit together, or where the certificate is not
    /// this node's.
    pub fn load(config: &TlsConfig, cluster: &str, own: NodeId) -> Result<Arc<Self>, TlsError> {
        let loaded = reload::stamps(config);
        let files = Files::read(config)?;
        let current = make(&files, config, cluster, own)?;
        Ok(Arc::new(Self {
            loaded,
            config: config.clone(),
            cluster: cluster.to_string(),
            own,
            current: RwLock::new(current),
        }))
    }

    /// Takes what the files say now; on failure what was taken before stays.
    fn reload(&self) -> Result<(), TlsError> {
        let files = Files::read(&self.config)?;
        let current = make(&files, &self.config, &self.cluster, self.own)?;
        *self.current.write() = current;
        Ok(())
    }
}

fn make(files: &Files, config: &TlsConfig, cluster: &str, own: NodeId) -> Result<Current, TlsError> {
    let unfit = |error: &dyn std::fmt::Display| TlsError::Unfit(error.to_string());
    let known = names::nodes_in(&files.chain[0], cluster);
    if !known.contains(&own) {
        let needed = node_name(own, cluster);
        let named = names::all_in(&files.chain[0]).join(", ");
        return Err(TlsError::File {
            key: "tls.certificate",
            path: config.certificate.display().to_string(),
            why: format!("it is not this node's: the DNS name {needed} is needed, and it names [{named}]"),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&files.roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unfit(&error))?;
    let server = || {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        builder.with_protocol_versions(VERSIONS).map_err(|error| unfit(&error))
    };
    let for_clients = match config.client_certificates {
        ClientCertificates::None => server()?.with_no_client_auth(),
        ClientCertificates::Required => server()?.with_client_cert_verifier(Arc::clone(&verifier)),
    };
    let only_nodes = Arc::new(nodes::OnlyNodes { chain: verifier, cluster: cluster.to_string() });
    let for_nodes = server()?.with_client_cert_verifier(only_nodes);
    let shown = |builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>| {
        let made = builder.with_single_cert(files.chain.clone(), files.key.clone_key());
        let mut made = made.map_err(|error| unfit(&error))?;
        made.alpn_protocols = vec![b"h2".to_vec()];
        Ok::<_, TlsError>(Arc::new(made))
    };
    let dialing = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| unfit(&error))?
        .with_root_certificates(Arc::clone(&files.roots))
        .with_client_auth_cert(files.chain.clone(), files.key.clone_key());
    let mut dialing = dialing.map_err(|error| unfit(&error))?;
    dialing.alpn_protocols = vec![b"h2".to_vec()];
    // Each connection proves anew who it is.
    dialing.resumption = Resumption::disabled();
    Ok(Current { for_clients: shown(for_clients)?, for_nodes: shown(for_nodes)?, dialing: Arc::new(dialing) })
}
