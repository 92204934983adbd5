//! Certificates change while the node runs: whoever connects after that meets the new ones.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meridian_config::TlsConfig;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Tls, TlsError};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said again that they are broken.
const REMIND: Duration = Duration::from_secs(60);

/// When a file was changed, and how large it is. `None`: it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;
/// Of the certificate, the key, and the authorities.
pub(super) type Stamps = [Stamp; 3];

pub(super) fn stamps(config: &TlsConfig) -> Stamps {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    [&config.certificate, &config.key, &config.ca].map(|path| stamp(path))
}

/// What a look at the files came to.
struct Looked {
    seen: Stamps,
    changed: bool,
    /// `None`: there was nothing to read.
    read: Option<Result<(), TlsError>>,
}

impl Tls {
    /// Reads the files if they are not as they were `seen`. Files that are broken may be half written: they are
    /// read again until they are whole.
    fn look(&self, seen: Stamps, broken: bool) -> Looked {
        // Before they are read: what changes meanwhile is noticed at the next look.
        let now = stamps(&self.config);
        let changed = now != seen;
        Looked { seen: now, changed, read: (changed || broken).then(|| self.reload()) }
    }

    /// Looks at the files from now on, and at what became of them since they were loaded.
    pub(crate) fn watch(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut seen = tls.loaded;
            let mut broken: Option<Instant> = None;
            loop {
                tokio::time::sleep(LOOK).await;
                let (looking, is_broken) = (Arc::clone(&tls), broken.is_some());
                let looked = tokio::task::spawn_blocking(move || looking.look(seen, is_broken)).await;
                // Not looked: the runtime is going down.
                let Ok(looked) = looked else { return };
                seen = looked.seen;
                match looked.read {
                    None => {}
                    Some(Ok(())) => {
                        tracing::info!("new certificates: connections from now on meet them");
                        broken = None;
                    }
                    Some(Err(error))
                        if looked.changed || broken.is_none_or(|said| said.elapsed() >= REMIND) =>
                    {
                        tracing::error!(
                            %error,
                            "THE NEW CERTIFICATES CANNOT BE USED; this node goes on with the old ones"
                        );
                        broken = Some(Instant::now());
                    }
                    Some(Err(_)) => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::NodeId;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Writes a certificate of node 1 that is its own authority.
    fn write(config: &TlsConfig) {
        let pair = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["node-1.blue.meridian".to_string()]).expect("a name");
        let signed = params.self_signed(&pair).expect("signed");
        std::fs::write(&config.key, pair.serialize_pem()).expect("written");
        std::fs::write(&config.certificate, signed.pem()).expect("written");
        std::fs::write(&config.ca, signed.pem()).expect("written");
    }

    #[tokio::test]
    async fn what_changes_between_loading_and_watching_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key, ca] = ["node.pem", "node.key", "ca.pem"].map(|name| folder.path().join(name));
        let config = TlsConfig { certificate, key, ca, client_certificates: Default::default() };
        write(&config);
        let tls = Tls::load(&config, "blue", NodeId(1)).expect("sound files");
        let shown = || Arc::clone(&tls.current.read().for_nodes);
        let before = shown();
        // Longer than the file system's clock ticks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        write(&config);
        let watching = tls.watch();
        let begun = Instant::now();
        while Arc::ptr_eq(&shown(), &before) {
            assert!(begun.elapsed() < LOOK * 20, "the new certificate is not shown");
            tokio::time::sleep(LOOK / 10).await;
        }
        watching.abort();
    }
}
