//! An engine in memory. A crash loses what was not synced: the disk of the simulator.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::{Engine, EngineError, EngineSnapshot, Family, KeyValue, Range, Value, Write, WriteSet};

type Rows = BTreeMap<(Family, Vec<u8>), Bytes>;

#[derive(Default)]
struct State {
    rows: Arc<Rows>,
    /// What each change since the last sync replaced, oldest first.
    undo: Undo,
    writes: u64,
    syncs: u64,
    lying: bool,
}

/// Rows in a map, and how to take back what was not synced.
#[derive(Default)]
pub struct MemoryEngine {
    state: Mutex<State>,
}

impl MemoryEngine {
    /// Power loss: everything since the last sync is gone.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Power loss that comes late: of the writes since the last sync the first few have reached the disk.
    pub fn crash_keeping(&self, writes: u64) {
        let mut state = self.state.lock();
        let undo = std::mem::take(&mut state.undo);
        let kept_until = undo.first().map_or(0, |change| change.write + writes);
        let rows = Arc::make_mut(&mut state.rows);
        for change in undo.into_iter().rev().take_while(|change| change.write >= kept_until) {
            match change.before {
                Some(value) => rows.insert(change.key, value),
                None => rows.remove(&change.key),
            };
        }
    }

    /// A disk that says "synced" and is not: the negative control of every durability test.
    pub fn lie_about_sync(&self) {
        self.state.lock().lying = true;
    }

    /// Writes and syncs so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.writes, state.syncs)
    }

    fn rows(&self) -> Arc<Rows> {
        Arc::clone(&self.state.lock().rows)
    }
}

/// What a change replaced, and the number of the write it belongs to.
struct Change {
    write: u64,
    key: (Family, Vec<u8>),
    before: Option<Bytes>,
}

type Undo = Vec<Change>;

fn apply(rows: &mut Rows, undo: &mut Undo, number: u64, write: &Write) {
    let mut replaced = |key, before| undo.push(Change { write: number, key, before });
    match write {
        Write::Put(family, key, value) => {
            let value = match value {
                Value::Row(row) => Bytes::copy_from_slice(row),
                Value::Framed { head, body } => [&head[..], &body[..]].concat().into(),
            };
            let key = (*family, key.clone());
            let before = rows.insert(key.clone(), value);
            replaced(key, before);
        }
        Write::Delete(family, key) => {
            let key = (*family, key.clone());
            let before = rows.remove(&key);
            replaced(key, before);
        }
        Write::DeleteRange(family, range) => {
            let keys: Vec<_> = between(rows, *family, range).map(|(key, _)| key.clone()).collect();
            for key in keys {
                let before = rows.remove(&key);
                replaced(key, before);
            }
        }
    }
}

fn between<'a>(
    rows: &'a Rows,
    family: Family,
    range: &Range,
) -> impl DoubleEndedIterator<Item = (&'a (Family, Vec<u8>), &'a Bytes)> + use<'a> {
    let from = (family, range.from.clone());
    let to = (family, range.to.clone().max(range.from.clone()));
    rows.range((Bound::Included(from), Bound::Excluded(to)))
}

fn scan(rows: &Rows, family: Family, range: &Range, limit: usize, bytes: usize) -> Vec<KeyValue> {
    let mut found = Vec::new();
    let mut total = 0;
    for ((_, key), value) in between(rows, family, range).take(limit) {
        total += key.len() + value.len();
        found.push((Bytes::copy_from_slice(key), value.clone()));
        if total >= bytes {
            break;
        }
    }
    found
}

impl Engine for MemoryEngine {
    fn write(&self, sets: &[WriteSet], sync: bool) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let rows = Arc::make_mut(&mut state.rows);
        state.writes += 1;
        let number = state.writes;
        sets.iter().flat_map(WriteSet::writes).for_each(|write| apply(rows, &mut state.undo, number, write));
        if sync && !state.lying {
            state.syncs += 1;
            state.undo.clear();
        }
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.rows().get(&(family, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        Ok(scan(&self.rows(), family, range, rows, bytes))
    }

    fn last(&self, family: Family, range: &Range) -> Result<Option<KeyValue>, EngineError> {
        let rows = self.rows();
        let last = between(&rows, family, range).next_back();
        Ok(last.map(|((_, key), value)| (Bytes::copy_from_slice(key), value.clone())))
    }

    fn snapshot(self: Arc<Self>) -> Arc<dyn EngineSnapshot> {
        Arc::new(MemorySnapshot(self.rows()))
    }

    fn reclaim(&self, _family: Family, _range: &Range) -> Result<(), EngineError> {
        Ok(())
    }

    fn keep_aside(&self, _folder: &Path) -> Result<(), EngineError> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.rows().iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
    }
}

struct MemorySnapshot(Arc<Rows>);

impl EngineSnapshot for MemorySnapshot {
    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        Ok(scan(&self.0, family, range, rows, bytes))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(&(family, key.to_vec())).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> WriteSet {
        let mut set = WriteSet::default();
        set.put(Family::Meta, key.to_vec(), value.to_vec());
        set
    }

    #[test]
    fn a_crash_takes_back_exactly_what_was_not_synced() {
        let engine = MemoryEngine::default();
        engine.write(&[put(b"a", b"1")], true).expect("writes");
        engine.write(&[put(b"a", b"2"), put(b"b", b"1")], false).expect("writes");
        let mut set = WriteSet::default();
        set.delete_range(Family::Meta, Range { from: b"a".to_vec(), to: b"c".to_vec() });
        engine.write(&[set], false).expect("writes");
        engine.crash();
        assert_eq!(engine.get(Family::Meta, b"a"), Ok(Some(Bytes::from_static(b"1"))));
        assert_eq!(engine.get(Family::Meta, b"b"), Ok(None));
    }

    #[test]
    fn a_late_crash_keeps_the_first_of_what_was_not_synced() {
        let engine = MemoryEngine::default();
        engine.write(&[put(b"a", b"0")], true).expect("writes");
        for value in [b"1", b"2", b"3"] {
            engine.write(&[put(b"a", value), put(value, value)], false).expect("writes");
        }
        engine.crash_keeping(2);
        assert_eq!(engine.get(Family::Meta, b"a"), Ok(Some(Bytes::from_static(b"2"))));
        assert_eq!(engine.get(Family::Meta, b"3"), Ok(None));
        engine.crash();
        assert_eq!(
            engine.get(Family::Meta, b"a"),
            Ok(Some(Bytes::from_static(b"2"))),
            "what survived is on disk"
        );
    }

    #[test]
    fn a_lying_disk_loses_synced_writes() {
        let engine = MemoryEngine::default();
        engine.lie_about_sync();
        engine.write(&[put(b"a", b"1")], true).expect("writes");
        engine.crash();
        assert_eq!(engine.get(Family::Meta, b"a"), Ok(None));
    }

    #[test]
    fn a_snapshot_does_not_move() {
        let engine = Arc::new(MemoryEngine::default());
        engine.write(&[put(b"a", b"1")], true).expect("writes");
        let snapshot = Arc::clone(&engine).snapshot();
        engine.write(&[put(b"a", b"2")], true).expect("writes");
        assert_eq!(snapshot.get(Family::Meta, b"a"), Ok(Some(Bytes::from_static(b"1"))));
    }
}
