//! Certificates change while the node runs: whoever connects after that meets the new ones.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Tls;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said again that they are broken.
const REMIND: Duration = Duration::from_secs(60);

type Stamp = Option<(SystemTime, u64)>;

impl Tls {
    fn stamps(&self) -> [Stamp; 3] {
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        [&self.config.certificate, &self.config.key, &self.config.ca].map(|path| stamp(path))
    }

    /// Looks at the files from now on.
    pub(crate) fn watch(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut seen = tls.stamps();
            let mut broken: Option<Instant> = None;
            loop {
                tokio::time::sleep(LOOK).await;
                let now = tls.stamps();
                // Files that are broken may be half written: they are read again until they are whole.
                if now == seen && broken.is_none() {
                    continue;
                }
                let changed = now != seen;
                seen = now;
                match tls.reload() {
                    Ok(()) => {
                        tracing::info!("new certificates: connections from now on meet them");
                        broken = None;
                    }
                    Err(error) if changed || broken.is_none_or(|said| said.elapsed() >= REMIND) => {
                        tracing::error!(
                            %error,
                            "THE NEW CERTIFICATES CANNOT BE USED; this node goes on with the old ones"
                        );
                        broken = Some(Instant::now());
                    }
                    Err(_) => {}
                }
            }
        })
    }
}
