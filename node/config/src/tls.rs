//! `[tls]`: which files say who this node is and whom it trusts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[tls]`. Absent: every listener speaks plaintext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// This node's certificate and those between it and the authority, PEM. It names the host names or addresses
    /// by which clients reach the node, and `node-{id}.{cluster.name}.meridian`, by which nodes know it.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authorities that nodes, and clients with certificates, are signed by, PEM.
    pub ca: PathBuf,
    /// Whether clients must show a certificate of `ca`. Nodes always must.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Nothing.
    #[default]
    None,
    /// A certificate.
    Required,
}

/// A node is known by a host name with the cluster in it, so the cluster's name must be fit for one.
pub(super) fn check(cluster: &str) -> Result<(), ConfigError> {
    let fit = cluster.len() <= 63
        && cluster
            .split('.')
            .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    match fit {
        true => Ok(()),
        false => Err(ConfigError::Value {
            field: "cluster.name",
            why: format!(
                "{cluster:?} cannot be part of a host name, as `[tls]` needs: node-1.{cluster}.meridian"
            ),
        }),
    }
}
