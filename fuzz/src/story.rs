//! A checkpoint and what came after it, as one input: rows that a machine is restored from, then entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_machine::{Effect, Row, Table};

use crate::frames;

/// The tag of a frame that is an entry with a command. Every other known tag is a table's, and the frame a row.
const COMMAND: u8 = 0;
/// The tag of an entry without a command.
const BLANK: u8 = 255;

/// What an input tells.
pub(crate) struct Story {
    /// The checkpoint.
    pub(crate) disk: Disk,
    /// What was applied after it. `None`: an entry that is no command.
    pub(crate) entries: Vec<Option<Bytes>>,
}

impl Story {
    /// Reads a story. Frames that are nothing are passed over.
    pub(crate) fn read(input: &[u8]) -> Self {
        let mut story = Story { disk: Disk::default(), entries: Vec::new() };
        for frame in frames::split(input) {
            match frame.split_first() {
                Some((&COMMAND, command)) => story.entries.push(Some(Bytes::copy_from_slice(command))),
                Some((&BLANK, _)) => story.entries.push(None),
                Some((&tag, row)) => story.disk.take_up(tag, row),
                None => {}
            }
        }
        story
    }

    /// The input of a story.
    pub(crate) fn write(disk: &Disk, entries: &[Option<Bytes>]) -> Vec<u8> {
        let rows = disk.rows().map(|row| {
            [&[row.table as u8, row.key.len() as u8], row.key.as_slice(), row.value.as_slice()].concat()
        });
        let entries = entries.iter().map(|entry| match entry {
            Some(command) => [&[COMMAND], &command[..]].concat(),
            None => vec![BLANK],
        });
        frames::join(rows.chain(entries))
    }
}

/// What the effects of a machine leave behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Disk {
    /// A row of a frame: the length of its key, the key, the value.
    fn take_up(&mut self, tag: u8, row: &[u8]) {
        let Some(table) = Table::from_tag(tag) else { return };
        let Some((&length, rest)) = row.split_first() else { return };
        let (key, value) = rest.split_at(usize::from(length).min(rest.len()));
        self.0.insert((table, key.to_vec()), value.to_vec());
    }

    /// Carries out the effects of an entry.
    pub(crate) fn write(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Put(row) => {
                    self.0.insert((row.table, row.key.clone()), row.value.clone());
                }
                Effect::Delete { table, key } => {
                    self.0.remove(&(*table, key.clone()));
                }
                Effect::Index { .. } | Effect::SegmentClosed { .. } | Effect::Trimmed { .. } => {}
            }
        }
    }

    /// Every row, in order of table and key.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.iter().map(|((table, key), value)| Row {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        })
    }
}
