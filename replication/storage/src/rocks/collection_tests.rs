//! Space comes back under mixed retention, and nothing is rewritten where nothing was deleted.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use meridian_model::GroupId;

use super::*;
use crate::keys::{entry, log};

const MIB: u64 = 1024 * 1024;
const GROUPS: u64 = 16;
const ENTRY_BYTES: usize = 64 * 1024;

/// An engine whose files are a sixteenth of the usual size, so that little data shows what much would.
fn small(folder: &Path) -> RocksEngine {
    let options = RocksOptions { memtable_bytes: 12 * MIB as usize, ..RocksOptions::default() };
    RocksEngine::open(folder, &options).expect("opens")
}

fn append(engine: &RocksEngine, group: u64, index: u64) {
    let body = Bytes::from(vec![group as u8; ENTRY_BYTES]);
    let head = entry::header(1, index, entry::EntryKind::Command, &body);
    let mut set = WriteSet::default();
    set.push(Write::Put(Family::Log, log::encode(GroupId(group), index), Value::Framed { head, body }));
    engine.write(&[set], index.is_multiple_of(8)).expect("writes");
}

/// Deletes what lies below `index`, as a purge does.
fn trim(engine: &RocksEngine, group: u64, index: u64) {
    let gone = log::range(GroupId(group), 0, index);
    let mut set = WriteSet::default();
    set.delete_range(Family::Log, gone.clone());
    engine.write(&[set], true).expect("writes");
    engine.reclaim(Family::Log, &gone).expect("reclaims");
}

fn blob_files(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder.join("db")).expect("the folder").flatten();
    names.filter_map(|file| file.file_name().into_string().ok()).filter(|n| n.ends_with(".blob")).collect()
}

/// What a group keeps, in entries: some a moment, some long, one everything.
fn keeps(group: u64) -> u64 {
    match group {
        0 => u64::MAX,
        1..4 => 320,
        _ => 24,
    }
}

#[test]
fn mixed_retention_gives_its_space_back() {
    const ENTRIES: u64 = 640;
    let folder = tempfile::tempdir().expect("a folder");
    let engine = small(folder.path());
    let mut worst: f64 = 0.0;
    for index in 0..ENTRIES {
        (0..GROUPS).for_each(|group| append(&engine, group, index));
        for group in (0..GROUPS).filter(|_| index % 8 == 7) {
            trim(&engine, group, (index + 1).saturating_sub(keeps(group)));
        }
        if index >= ENTRIES / 2 && index % 8 == 7 {
            let live: u64 = (0..GROUPS).map(|group| keeps(group).min(index + 1) * ENTRY_BYTES as u64).sum();
            worst = worst.max(engine.disk_bytes() as f64 / live as f64);
        }
    }
    println!("disk over live bytes, worst of the second half: {worst:.2}");
    assert!(worst <= 2.0, "{worst:.2} bytes on disk for each live one");
    for group in 0..GROUPS {
        let first = ENTRIES.saturating_sub(keeps(group));
        let rows =
            engine.scan(Family::Log, &log::all(GroupId(group)), usize::MAX, usize::MAX).expect("reads");
        let found: Vec<u64> = rows
            .into_iter()
            .map(|(_, value)| entry::decode(value).expect("an undamaged entry").index)
            .collect();
        assert!(found.iter().copied().eq(first..ENTRIES), "group {group}: {} entries", found.len());
    }
}

/// Tables of the log at a level. What is below level 0 was compacted.
fn tables_at(engine: &RocksEngine, level: u32) -> u64 {
    let family = engine.family(Family::Log).expect("a family");
    let name = format!("rocksdb.num-files-at-level{level}");
    let said = engine.db.property_value_cf(family, &name).expect("a property of RocksDB");
    said.expect("a number").parse().expect("a number")
}

#[test]
fn what_was_not_deleted_is_not_rewritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = small(folder.path());
    let mut before = BTreeSet::new();
    for index in 0..160 {
        (0..GROUPS).for_each(|group| append(&engine, group, index));
        if index == 60 {
            before = blob_files(folder.path());
        }
    }
    let after = blob_files(folder.path());
    assert!(before.len() > 8 && after.len() > before.len() * 2, "{} and {}", before.len(), after.len());
    assert!(before.is_subset(&after), "files of live messages were replaced");
    assert_eq!(engine.property(Family::Log, "rocksdb.live-blob-file-garbage-size"), Some(0));
    let tables: u64 = (1..7).map(|level| tables_at(&engine, level)).sum();
    assert!(tables > 0, "no table was compacted, so nothing could have been rewritten");
}
