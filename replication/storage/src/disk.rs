//! Reads that block, kept off the runtime's threads.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::{Engine, EngineError};

/// The engine for readers: blocking calls go to the blocking pool, or, in a simulation, run in place.
#[derive(Clone)]
pub struct Disk {
    engine: Arc<dyn Engine>,
    inline: bool,
    damage: watch::Sender<Option<String>>,
}

impl Disk {
    /// Reads go to the runtime's blocking pool.
    pub fn pooled(engine: Arc<dyn Engine>) -> Self {
        Self { engine, inline: false, damage: watch::Sender::new(None) }
    }

    /// Reads run in place: for engines in memory, and for determinism.
    pub fn inline(engine: Arc<dyn Engine>) -> Self {
        Self { engine, inline: true, damage: watch::Sender::new(None) }
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
        let result = match self.inline {
            true => read(&self.engine),
            false => {
                let engine = Arc::clone(&self.engine);
                let reading = tokio::task::spawn_blocking(move || read(&engine));
                reading.await.unwrap_or(Err(EngineError::Closed))
            }
        };
        if let Err(EngineError::Corruption(why)) = &result {
            self.report_damage(why);
        }
        result
    }

    /// Says that something read from this disk is not what was written: the node must stop serving from it.
    pub fn report_damage(&self, why: &str) {
        self.damage.send_if_modified(|damage| {
            let first = damage.is_none();
            damage.get_or_insert_with(|| why.to_string());
            first
        });
    }

    /// The same for an error that may come from the engine.
    pub fn report_if_damage(&self, error: &std::io::Error) {
        let engine = error.get_ref().and_then(|inner| inner.downcast_ref::<EngineError>());
        if let Some(EngineError::Corruption(why)) = engine {
            self.report_damage(why);
        }
    }

    /// Waits until damage was found. Cancel safe.
    pub async fn damaged(&self) -> String {
        let mut damage = self.damage.subscribe();
        match damage.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}
