//! The parts of a node on a real disk: what the binary runs.

use std::sync::Arc;

use meridian_model::Clock;
use meridian_raft::network::TcpDial;
use meridian_storage::{Disk, RocksEngine, Writer};

use crate::NodeParts;
use crate::folder::DataFolder;
use crate::listen::TcpListen;

impl NodeParts {
    /// An engine that was opened in this folder, whose space is watched, and TCP.
    pub fn on_disk(engine: Arc<RocksEngine>, folder: &DataFolder, clock: Arc<dyn Clock>) -> Self {
        let (writer, writes) = Writer::new(engine.clone());
        Self {
            disk: Disk::pooled(engine),
            writer,
            writes,
            writer_thread: true,
            dial: Arc::new(TcpDial),
            listen: Arc::new(TcpListen),
            clock,
            incarnation: folder.incarnation(),
            may_only_join: folder.may_only_join(),
            watched_folder: Some(folder.path().to_path_buf()),
        }
    }
}
