//! The rows that an entry changes, each of them once, however often the entry changed it.

use std::collections::BTreeMap;

use crate::{Effect, Row, Table};

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    /// Whether it was there before the entry.
    stored: bool,
    /// What it says now. `None`: it is gone.
    value: Option<Vec<u8>>,
}

/// Changed rows. Empty between entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal(BTreeMap<(Table, Vec<u8>), Change>);

impl Journal {
    /// A row that was not there.
    pub(super) fn insert(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.change(table, key, false, Some(value));
    }

    /// A row that was there.
    pub(super) fn update(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.change(table, key, true, Some(value));
    }

    /// A row that was there.
    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.change(table, key, true, None);
    }

    fn change(&mut self, table: Table, key: Vec<u8>, stored: bool, value: Option<Vec<u8>>) {
        // What was there before the entry is what the first change found.
        self.0.entry((table, key)).or_insert(Change { stored, value: None }).value = value;
    }

    /// What another journal, begun after this one, has changed.
    pub(super) fn absorb(&mut self, later: Journal) {
        for ((table, key), change) in later.0 {
            self.change(table, key, change.stored, change.value);
        }
    }

    /// Writes each changed row.
    pub(super) fn flush(&mut self, effects: &mut Vec<Effect>) {
        for ((table, key), change) in std::mem::take(&mut self.0) {
            match change {
                Change { value: Some(value), .. } => effects.push(Effect::Put(Row { table, key, value })),
                Change { stored: true, .. } => effects.push(Effect::Delete { table, key }),
                Change { stored: false, .. } => {}
            }
        }
    }
}
