//! RocksDB keeps the engine's contract, and its damage never goes unnoticed.

use super::*;

fn put(key: &[u8], value: &[u8]) -> WriteSet {
    let mut set = WriteSet::default();
    set.put(Family::Meta, key.to_vec(), value.to_vec());
    set
}

fn open(folder: &Path) -> Result<RocksEngine, EngineError> {
    RocksEngine::open(folder, &RocksOptions::default())
}

fn wal_of(folder: &Path) -> PathBuf {
    let mut logs: Vec<PathBuf> = std::fs::read_dir(folder.join("db"))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    logs.sort_by_key(|path| std::fs::metadata(path).map(|m| m.len()).unwrap_or(0));
    logs.pop().expect("a write-ahead log")
}

/// A folder as a kill -9 leaves it: copied while the engine is open.
fn killed(rows: u32) -> tempfile::TempDir {
    let live = tempfile::tempdir().expect("a folder");
    let dead = tempfile::tempdir().expect("a folder");
    let engine = open(live.path()).expect("opens");
    for i in 0..rows {
        engine.write(&[put(&i.to_be_bytes(), &[7; 100])], true).expect("writes");
    }
    std::fs::create_dir_all(dead.path().join("db")).expect("a folder");
    for entry in std::fs::read_dir(live.path().join("db")).expect("the folder").flatten() {
        std::fs::copy(entry.path(), dead.path().join("db").join(entry.file_name())).expect("copies");
    }
    std::fs::copy(live.path().join("witness"), dead.path().join("witness")).expect("copies");
    dead
}

#[test]
fn rows_survive_a_kill() {
    let folder = killed(200);
    let engine = open(folder.path()).expect("recovers");
    for i in 0..200u32 {
        assert!(engine.get(Family::Meta, &i.to_be_bytes()).expect("reads").is_some(), "row {i}");
    }
}

#[test]
fn every_damaged_byte_of_the_wal_is_found_or_harmless() {
    // LOG-1 on one node: after damage either the open fails, or every synced row is there.
    let mut refused = 0;
    for step in 0..60usize {
        let folder = killed(300);
        let wal = wal_of(folder.path());
        let mut bytes = std::fs::read(&wal).expect("reads");
        let used = bytes.iter().rposition(|b| *b != 0).expect("not empty") + 1;
        // Spread over the log, and dense in its last block, where a flipped length looks like the end.
        let at = if step < 30 { used * step / 30 } else { used - 1 - (step - 30) * 37 };
        bytes[at] ^= 0x10;
        std::fs::write(&wal, &bytes).expect("writes");
        match open(folder.path()) {
            Err(EngineError::Corruption(_)) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
            Ok(engine) => (0..300u32).for_each(|i| {
                let row = engine.get(Family::Meta, &i.to_be_bytes()).expect("reads");
                assert_eq!(row.as_deref(), Some(&[7u8; 100][..]), "byte {at}, row {i}");
            }),
        }
    }
    println!("60 bit flips: {refused} refused, {} harmless", 60 - refused);
    assert!(refused >= 50);
}

#[test]
fn scans_are_bounded_and_ordered() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path()).expect("opens");
    let sets: Vec<WriteSet> = (0..10u8).map(|i| put(&[1, i], &[i; 10])).collect();
    engine.write(&sets, true).expect("writes");
    let range = Range { from: vec![1, 2], to: vec![1, 8] };
    let rows = engine.scan(Family::Meta, &range, 3, usize::MAX).expect("scans");
    assert_eq!(rows.iter().map(|(k, _)| k[1]).collect::<Vec<_>>(), vec![2, 3, 4]);
    assert_eq!(engine.scan(Family::Meta, &range, 100, 1).expect("scans").len(), 1);
    let last = engine.last(Family::Meta, &range).expect("reads").expect("a row");
    assert_eq!(last.0[1], 7);
    let none = Range { from: vec![2], to: vec![3] };
    assert_eq!(engine.last(Family::Meta, &none).expect("reads"), None);
}

#[test]
fn a_snapshot_outlives_later_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Arc::new(open(folder.path()).expect("opens"));
    engine.write(&[put(b"a", b"1")], true).expect("writes");
    let snapshot = Arc::clone(&engine).snapshot();
    engine.write(&[put(b"a", b"2")], true).expect("writes");
    drop(engine);
    assert_eq!(snapshot.get(Family::Meta, b"a").expect("reads").as_deref(), Some(&b"1"[..]));
}

/// Rows whose values lie in one blob file, and that file.
fn with_blobs(folder: &Path) -> PathBuf {
    let engine = open(folder).expect("opens");
    for i in 0..20u32 {
        let mut set = WriteSet::default();
        set.put(Family::Log, i.to_be_bytes().to_vec(), vec![i as u8; 4_096]);
        engine.write(&[set, put(&i.to_be_bytes(), b"small")], true).expect("writes");
    }
    engine.db.flush_cf(engine.family(Family::Log).expect("the family")).expect("flushes");
    drop(engine);
    let files = std::fs::read_dir(folder.join("db")).expect("the folder").flatten().map(|entry| entry.path());
    let mut blobs: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "blob")).collect();
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    blobs.remove(0)
}

/// How many of the rows can be read; the others are said to be damaged values, and nothing else is.
fn readable(engine: &RocksEngine) -> usize {
    let rows = (0..20u32).filter(|i| match engine.get(Family::Log, &i.to_be_bytes()) {
        Ok(value) => {
            assert_eq!(value.as_deref(), Some(&[*i as u8; 4_096][..]), "never other bytes");
            true
        }
        Err(EngineError::DamagedValue(_)) => false,
        Err(other) => panic!("row {i}: {other}"),
    });
    let readable = rows.count();
    for i in 0..20u32 {
        assert!(engine.get(Family::Meta, &i.to_be_bytes()).expect("reads").is_some(), "small rows are whole");
    }
    readable
}

/// LOG-3 on one node: of a damaged blob file the rows that can be read are right, and the rest is told apart from
/// damage of the whole.
#[test]
fn damage_in_a_blob_file_is_damage_of_values() {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    };
    let truncate = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    for (name, injure, left) in [("a bit", flip as fn(&mut Vec<u8>), 19..=19), ("half", truncate, 0..=10)] {
        let folder = tempfile::tempdir().expect("a folder");
        let blob = with_blobs(folder.path());
        let mut bytes = std::fs::read(&blob).expect("reads");
        injure(&mut bytes);
        std::fs::write(&blob, bytes).expect("writes");
        let engine = open(folder.path()).expect("opens");
        let readable = readable(&engine);
        println!("{name} of a blob file gone: {readable} of 20 values can be read");
        assert!(left.contains(&readable), "{name}: {readable}");
    }
}

#[test]
fn a_blob_file_that_is_gone_is_damage_of_values_and_what_is_left_can_be_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let blob = with_blobs(folder.path());
    std::fs::remove_file(&blob).expect("removes");
    let engine = match open(folder.path()) {
        Ok(engine) => engine,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(readable(&engine), 0);
    let aside = folder.path().join("aside");
    engine.keep_aside(&aside).expect("keeps");
    let kept = std::fs::read_dir(&aside).expect("the folder").flatten().count();
    assert!(kept > 3 && aside.join("CURRENT").exists(), "{kept} files");
}
