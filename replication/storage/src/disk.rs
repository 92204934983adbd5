//! Reads that block, kept off the runtime's threads.

use std::sync::Arc;

use crate::engine::{Engine, EngineError};

/// The engine for readers: blocking calls go to the blocking pool, or, in a simulation, run in place.
#[derive(Clone)]
pub struct Disk {
    engine: Arc<dyn Engine>,
    inline: bool,
}

impl Disk {
    /// Reads go to the runtime's blocking pool.
    pub fn pooled(engine: Arc<dyn Engine>) -> Self {
        Self { engine, inline: false }
    }

    /// Reads run in place: for engines in memory, and for determinism.
    pub fn inline(engine: Arc<dyn Engine>) -> Self {
        Self { engine, inline: true }
    }

    /// The engine itself, for callers that may block.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Runs a blocking read. Cancellation: the read itself goes on to its end.
    pub async fn read<R, F>(&self, read: F) -> Result<R, EngineError>
    where
        R: Send + 'static,
        F: FnOnce(&Arc<dyn Engine>) -> Result<R, EngineError> + Send + 'static,
    {
        if self.inline {
            return read(&self.engine);
        }
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || read(&engine)).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::Closed),
        }
    }
}
