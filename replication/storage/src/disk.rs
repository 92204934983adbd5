//! Reads that block, kept off the runtime's threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::GroupId;
use tokio::sync::watch;

use crate::engine::{Engine, EngineError};

/// The engine for readers: blocking calls go to the blocking pool, or, in a simulation, run in place.
#[derive(Clone)]
pub struct Disk {
    engine: Arc<dyn Engine>,
    inline: bool,
    damage: watch::Sender<Option<String>>,
    damaged_groups: watch::Sender<BTreeMap<GroupId, String>>,
}

impl Disk {
    /// Reads go to the runtime's blocking pool.
    pub fn pooled(engine: Arc<dyn Engine>) -> Self {
        Self::new(engine, false)
    }

    /// Reads run in place: for engines in memory, and for determinism.
    pub fn inline(engine: Arc<dyn Engine>) -> Self {
        Self::new(engine, true)
    }

    fn new(engine: Arc<dyn Engine>, inline: bool) -> Self {
        let (damage, damaged_groups) = (watch::Sender::new(None), watch::Sender::default());
        Self { engine, inline, damage, damaged_groups }
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

    /// Says the same of an error met while the log of `group` was read. Where only messages are damaged it is the
    /// group that must stop here, not the node; but a node without its control group is none.
    pub fn report_if_damage(&self, group: GroupId, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::InvalidData {
            return;
        }
        let engine = error.get_ref().and_then(|inner| inner.downcast_ref::<EngineError>());
        if matches!(engine, Some(EngineError::Corruption(_))) || group.is_control() {
            return self.report_damage(&error.to_string());
        }
        self.report_damaged_group(group, &error.to_string());
    }

    /// Says that the messages of a group are damaged here.
    pub fn report_damaged_group(&self, group: GroupId, why: &str) {
        self.damaged_groups.send_if_modified(|groups| groups.insert(group, why.to_string()).is_none());
    }

    /// Whether messages of a group are damaged here.
    pub fn is_damaged(&self, group: GroupId) -> bool {
        self.damaged_groups.borrow().contains_key(&group)
    }

    /// Groups whose messages are damaged here, and how. New ones appear as they are found.
    pub fn damaged_groups(&self) -> watch::Receiver<BTreeMap<GroupId, String>> {
        self.damaged_groups.subscribe()
    }

    /// The data of a group is gone or set aside: damage found from now on is news again.
    pub fn forget_damage(&self, group: GroupId) {
        self.damaged_groups.send_if_modified(|groups| groups.remove(&group).is_some());
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
