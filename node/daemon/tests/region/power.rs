//! The disk of one run of a node, with a plug: it can be pulled at a chosen write, and writes can be held.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use meridian_model::GroupId;
use meridian_storage::engine::{EngineSnapshot, KeyValue};
use meridian_storage::keys::meta;
use meridian_storage::{Engine, EngineError, Family, MemoryEngine, Range, Write, WriteSet};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// A moment at which something happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing ever happens.
    Never,
    /// The plug is pulled at so many writes after the one that says "a snapshot is being installed"; 0: at that
    /// one, which is lost.
    AfterInstalling(GroupId, u32),
    /// Writes are held from the one on that says "a snapshot is being installed".
    HoldInstalling(GroupId),
}

struct State {
    /// Nothing reaches the disk any more.
    unplugged: bool,
    /// Writes wait.
    held: bool,
    /// How many writes are waiting.
    waiting: u32,
    /// Reads of log entries wait.
    log_reads_held: bool,
    /// How many reads are waiting.
    log_reads_waiting: u32,
    moment: Moment,
    since_installing: Option<u32>,
}

/// A memory engine as one run of a node sees it.
pub(crate) struct Power {
    engine: Arc<MemoryEngine>,
    state: Mutex<State>,
    changed: Condvar,
    pulled: watch::Sender<bool>,
    installs: Mutex<Vec<GroupId>>,
}

fn installs_in(sets: &[WriteSet]) -> impl Iterator<Item = GroupId> + '_ {
    sets.iter().flat_map(WriteSet::writes).filter_map(|write| match write {
        Write::Put(Family::Meta, key, _) => match meta::decode(key) {
            Ok((group, tag)) if tag == meta::Fact::Installing as u8 => Some(group),
            _ => None,
        },
        _ => None,
    })
}

impl Power {
    /// The plug is in.
    pub(crate) fn on(engine: Arc<MemoryEngine>, moment: Moment) -> Arc<Self> {
        let state = State {
            unplugged: false,
            held: false,
            waiting: 0,
            log_reads_held: false,
            log_reads_waiting: 0,
            moment,
            since_installing: None,
        };
        Arc::new(Self {
            engine,
            state: Mutex::new(state),
            changed: Condvar::new(),
            pulled: watch::Sender::new(false),
            installs: Mutex::default(),
        })
    }

    /// Power loss: what was not synced is gone, and nothing is written any more.
    pub(crate) fn cut(&self) {
        self.unplug(true);
    }

    /// The process is gone, the machine is not: what was written stays.
    pub(crate) fn disconnect(&self) {
        self.unplug(false);
    }

    fn unplug(&self, lose_unsynced: bool) {
        let mut state = self.state.lock();
        if !state.unplugged && lose_unsynced {
            self.engine.crash();
        }
        state.unplugged = true;
        self.changed.notify_all();
        self.pulled.send_replace(true);
    }

    /// Waits until the plug is out.
    pub(crate) async fn off(&self) {
        let mut pulled = self.pulled.subscribe();
        pulled.wait_for(|pulled| *pulled).await.expect("the sender lives as long as we do");
    }

    /// Whether the plug is out.
    pub(crate) fn is_off(&self) -> bool {
        *self.pulled.borrow()
    }

    /// From now on writes wait.
    pub(crate) fn hold(&self) {
        self.state.lock().held = true;
    }

    /// Whether a write waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.lock().waiting > 0
    }

    /// Writes go on.
    pub(crate) fn release(&self) {
        self.state.lock().held = false;
        self.changed.notify_all();
    }

    /// From now on reads of log entries wait.
    pub(crate) fn hold_log_reads(&self) {
        self.state.lock().log_reads_held = true;
    }

    /// Whether a read of log entries waits.
    pub(crate) fn is_read_waiting(&self) -> bool {
        self.state.lock().log_reads_waiting > 0
    }

    /// Reads go on.
    pub(crate) fn release_log_reads(&self) {
        self.state.lock().log_reads_held = false;
        self.changed.notify_all();
    }

    /// How many times a snapshot of `group` began to be installed in this run.
    pub(crate) fn installs(&self, group: GroupId) -> usize {
        self.installs.lock().iter().filter(|installed| **installed == group).count()
    }

    fn read<R>(&self, read: impl FnOnce(&MemoryEngine) -> Result<R, EngineError>) -> Result<R, EngineError> {
        match self.is_off() {
            true => Err(EngineError::Closed),
            false => read(&self.engine),
        }
    }
}

impl Engine for Power {
    fn write(&self, sets: &[WriteSet], sync: bool) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if let Moment::HoldInstalling(group) = state.moment
            && installs_in(sets).any(|installed| installed == group)
        {
            state.moment = Moment::Never;
            state.held = true;
        }
        while state.held && !state.unplugged {
            state.waiting += 1;
            self.changed.wait(&mut state);
            state.waiting -= 1;
        }
        if state.unplugged {
            return Err(EngineError::Closed);
        }
        self.installs.lock().extend(installs_in(sets));
        if let Moment::AfterInstalling(group, writes) = state.moment {
            let begins = installs_in(sets).any(|installed| installed == group);
            state.since_installing = match state.since_installing {
                Some(since) => Some(since + 1),
                None => begins.then_some(0),
            };
            if state.since_installing == Some(writes) {
                drop(state);
                self.cut();
                return Err(EngineError::Closed);
            }
        }
        self.engine.write(sets, sync)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.read(|engine| engine.get(family, key))
    }

    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        if family == Family::Log {
            let mut state = self.state.lock();
            while state.log_reads_held && !state.unplugged {
                state.log_reads_waiting += 1;
                self.changed.wait(&mut state);
                state.log_reads_waiting -= 1;
            }
        }
        self.read(|engine| engine.scan(family, range, rows, bytes))
    }

    fn last(&self, family: Family, range: &Range) -> Result<Option<KeyValue>, EngineError> {
        self.read(|engine| engine.last(family, range))
    }

    fn snapshot(self: Arc<Self>) -> Arc<dyn EngineSnapshot> {
        Arc::clone(&self.engine).snapshot()
    }

    fn reclaim(&self, _family: Family, _range: &Range) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_aside(&self, folder: &Path) -> Result<(), EngineError> {
        self.engine.keep_aside(folder)
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}
