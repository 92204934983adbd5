//! A checkpoint and what came after it, as one input: rows that a machine is restored from, then entries.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use meridian_machine::{CorruptState, Effect, Row, Table};

use crate::targets::Met;
use crate::{frames, memory};

/// The tag of a frame that is an entry with a command. Every other known tag is a table's, and the frame a row.
const COMMAND: u8 = 0;
/// The tag of an entry without a command.
const BLANK: u8 = 255;

/// What an input tells.
pub(crate) struct Story {
    /// The checkpoint.
    disk: Disk,
    /// What was applied after it. `None`: an entry that is no command.
    entries: Vec<Option<Bytes>>,
}

impl Story {
    /// Reads a story. Frames that are nothing are passed over.
    fn read(input: &[u8]) -> Self {
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

/// Restores a machine in at most `bytes_max` bytes, and applies the entries. Halfway through these a second machine
/// is restored of what the first has left, and must go on like it.
pub(crate) fn check_halves<M: PartialEq + Debug>(
    input: &[u8],
    bytes_max: usize,
    restore: impl Fn(&Disk) -> Result<M, CorruptState>,
    mut apply: impl FnMut(&mut M, Option<&Bytes>) -> Vec<Effect>,
) -> Met {
    let Story { mut disk, entries } = Story::read(input);
    let restored = memory::within(bytes_max, || restore(&disk));
    let Ok(mut machine) = restored else { return Met::Refused };
    let (first, second) = entries.split_at(entries.len() / 2);
    for entry in first {
        disk.write(&apply(&mut machine, entry.as_ref()));
    }
    let mut twin = match restore(&disk) {
        // Rows may be taken that are a step before the end of counting, and the step be made.
        Err(CorruptState::Uncountable { .. }) => return Met::Refused,
        restored => restored.expect("a machine's own rows"),
    };
    assert_eq!(twin, machine, "the rows are the whole state");
    for entry in second {
        let effects = apply(&mut machine, entry.as_ref());
        assert_eq!(apply(&mut twin, entry.as_ref()), effects, "replicas write the same rows");
        disk.write(&effects);
    }
    match restore(&disk) {
        Err(CorruptState::Uncountable { .. }) => return Met::Refused,
        restored => assert_eq!(restored.as_ref(), Ok(&machine)),
    }
    Met::Understood
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
