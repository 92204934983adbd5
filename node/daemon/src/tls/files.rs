//! The three files, read and parsed.

use std::path::Path;
use std::sync::Arc;

use meridian_config::TlsConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

pub(super) struct Files {
    /// The node's certificate first; at least that one.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) roots: Arc<RootCertStore>,
}

fn wrong(key: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { key, path: path.display().to_string(), why: why.to_string() }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|error| wrong(key, path, error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(key, path, error))?;
    match found.is_empty() {
        true => Err(wrong(key, path, "there is no certificate in it")),
        false => Ok(found),
    }
}

impl Files {
    pub(super) fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let chain = certificates("tls.certificate", &config.certificate)?;
        let pem = std::fs::read(&config.key).map_err(|error| wrong("tls.key", &config.key, error))?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| wrong("tls.key", &config.key, format!("no private key: {error}")))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls.ca", &config.ca)? {
            roots.add(authority).map_err(|error| wrong("tls.ca", &config.ca, error))?;
        }
        Ok(Self { chain, key, roots: Arc::new(roots) })
    }
}
