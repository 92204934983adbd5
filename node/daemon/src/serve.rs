//! `meridian serve`: one node on real disk, network and clock.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_config::{Config, ConfigError, LogFormat};
use meridian_daemon::folder::{DataFolder, FolderError};
use meridian_daemon::telemetry::logs;
use meridian_daemon::{Node, NodeError, NodeParts};
use meridian_model::{Clock, NodeId, UnixMs};
use meridian_raft::runtime::next_random;
use meridian_storage::rocks::{Closed, RocksOptions};
use meridian_storage::{EngineError, RocksEngine};

/// The machine's clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        UnixMs(since.map_or(0, |since| since.as_millis() as u64))
    }
}

/// Why `serve` ends other than by a signal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the data folder cannot be opened: {0}")]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
    #[error("cannot write the ready file {path}: {error}")]
    Ready { path: String, error: std::io::Error },
}

/// A data folder in use: locked, its database open.
pub(crate) struct Opened {
    folder: DataFolder,
    closed: Option<Closed>,
}

impl Opened {
    /// Waits until nothing of the node uses the folder any more, then unlocks it. To be called after the
    /// runtime is gone, whose tasks hold the database.
    pub(crate) fn close(self) {
        const CLOSE_MAX: Duration = Duration::from_secs(2);
        if self.closed.is_some_and(|closed| !closed.wait(CLOSE_MAX)) {
            let folder = self.folder.path().display();
            tracing::warn!(%folder, "the disk does not answer: the database is left as it is, as after a crash");
        }
    }
}

/// Runs a node until it is told to stop or fails. Leaves what it opened to be closed after the runtime.
pub(crate) async fn run(path: &Path, opened: &mut Vec<Opened>) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("meridian: {error}");
            return ExitCode::from(2);
        }
    };
    logs::install(&config.log);
    crate::memory::give_back_when_resting();
    let for_people = config.log.format == LogFormat::Human;
    match serve(config, opened).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Once: in words for a person, as a line of the log for whoever collects it.
            match for_people {
                true => eprintln!("meridian: {error}"),
                false => tracing::error!(%error, "this node stops"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, opened: &mut Vec<Opened>) -> Result<(), ServeError> {
    let data = config.node.data.clone();
    let ready_file = config.node.ready_file.clone();
    // Before anybody can know that it runs.
    let told_to_stop = told_to_stop().map_err(ServeError::Signals)?;
    let mut node = start(config, opened).await?;
    if let Some(path) = ready_file {
        let ready = serde_json::json!({
            "node": node.id().0,
            "client": node.addresses().client,
            "raft": node.addresses().raft,
            "admin": node.admin_address(),
            "metrics": node.metrics_address(),
            "pid": std::process::id(),
        });
        // Written beside and renamed: whoever waits for it never sees half of it.
        let beside = path.with_extension("new");
        let written =
            std::fs::write(&beside, ready.to_string()).and_then(|()| std::fs::rename(&beside, &path));
        written.map_err(|error| ServeError::Ready { path: path.display().to_string(), error })?;
    }
    let failure = tokio::select! {
        () = told_to_stop => None,
        error = node.failed() => Some(error),
    };
    let Some(failure) = failure else {
        tracing::info!("stopping");
        node.leave().await;
        return Ok(());
    };
    if let NodeError::Engine(EngineError::Corruption(why) | EngineError::DamagedValue(why)) = &failure {
        tracing::error!(why, "the data is damaged: it is condemned, and set aside at the next start");
        if let Err(error) = DataFolder::condemn(&data, why) {
            tracing::error!(%error, "the data could not be marked as condemned");
        }
    }
    Err(failure.into())
}

/// Opens the data folder, sets damaged data aside, and starts the node. The folder stays locked in `opened`.
pub(crate) async fn start(config: Config, opened: &mut Vec<Opened>) -> Result<Node, ServeError> {
    let id = NodeId(config.node.id);
    let name = config.cluster.name.clone();
    let mut folder = DataFolder::open(&config.node.data, id, &name, draw)?;
    let options = RocksOptions {
        cache_bytes: config.storage.cache_bytes,
        memtable_bytes: config.storage.memtable_bytes,
        unsafe_no_sync: config.storage.unsafe_no_sync,
    };
    if options.unsafe_no_sync {
        tracing::warn!("storage.unsafe_no_sync is set: acknowledged messages WILL be lost when power fails");
    }
    let engine = match folder.condemned() {
        Some(why) => Err(EngineError::Corruption(why)),
        None => RocksEngine::open(&folder.engine(), &options),
    };
    let engine = match engine {
        Err(EngineError::Corruption(why)) => {
            let aside = folder.quarantine(id, &name, draw)?;
            tracing::error!(
                why,
                quarantine = %aside.display(),
                "the stored data is damaged; it was set aside, and this node joins again with an empty disk"
            );
            RocksEngine::open(&folder.engine(), &options)?
        }
        other => other?,
    };
    let closed = engine.closed();
    let parts = NodeParts::on_disk(Arc::new(engine), &folder, Arc::new(SystemClock));
    let incarnation = folder.incarnation();
    // Before the start, which may fail with the engine in other hands already.
    opened.push(Opened { folder, closed });
    let node = Node::start(config, parts).await?;
    tracing::info!(
        node = %node.id(),
        client = node.addresses().client,
        raft = node.addresses().raft,
        %incarnation,
        "listening"
    );
    Ok(node)
}

pub(crate) fn draw() -> u128 {
    u128::from(next_random()) << 64 | u128::from(next_random())
}

/// SIGINT or SIGTERM. From the call on they do not end the process by themselves.
pub(crate) fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
