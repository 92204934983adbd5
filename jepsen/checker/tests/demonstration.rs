//! The check of a demonstration: one record lost, doubled, swapped or made up is named.

use std::collections::BTreeMap;

use meridian_checker::{DeliveryFault, Record, check_delivery};

fn published() -> Vec<Record> {
    (0..60).map(|n| Record::new(format!("r{n}"), format!("k{}", n % 4))).collect()
}

/// Three replicas that returned everything, each key on a partition of its own, read one after the other.
fn replicas() -> BTreeMap<String, Vec<Record>> {
    let mut by_key = published();
    by_key.sort_by(|a, b| a.key.cmp(&b.key));
    ["n1", "n2", "n3"].into_iter().map(|replica| (replica.to_owned(), by_key.clone())).collect()
}

/// What is said after one replica's copy was changed.
fn said_after(change: impl FnOnce(&mut Vec<Record>)) -> String {
    let mut replicas = replicas();
    change(replicas.get_mut("n2").expect("n2 is a replica"));
    let report = check_delivery(&published(), &replicas);
    assert!(!report.is_pass(), "{report}");
    assert_eq!(report.faults.len(), 1, "{report}");
    report.faults[0].to_string()
}

#[test]
fn everything_once_and_in_order_passes() {
    let report = check_delivery(&published(), &replicas());
    assert!(report.is_pass(), "{report}");
    assert_eq!((report.published, report.keys, report.replicas), (60, 4, 3));
    assert_eq!(report.to_string(), "60 records of 4 keys on 3 replicas: 0 faults\n");
}

#[test]
fn a_lost_record_is_named() {
    let said = said_after(|records| records.retain(|record| record.id != "r17"));
    assert_eq!(said, "n2: record r17 (key k1) was lost");
}

#[test]
fn a_doubled_record_is_named() {
    let said = said_after(|records| records.push(Record::new("r17", "k1")));
    assert_eq!(said, "n2: record r17 (key k1) came 2 times");
}

#[test]
fn swapped_records_are_named() {
    let said = said_after(|records| records.swap(2, 3));
    assert_eq!(said, "n2: record r8 (key k0) came after record r12 (key k0), which was published later");
}

#[test]
fn a_made_up_record_is_named() {
    let said = said_after(|records| records.push(Record::new("r99", "k1")));
    assert_eq!(said, "n2: record r99 (key k1) was never published");
}

#[test]
fn a_record_under_another_key_is_lost_and_made_up() {
    let mut replicas = replicas();
    replicas.get_mut("n3").unwrap()[0].key = "k3".into();
    let report = check_delivery(&published(), &replicas);
    let said: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["n3: record r0 (key k3) was never published", "n3: record r0 (key k0) was lost"]);
}

#[test]
fn order_between_keys_does_not_matter() {
    let mut replicas = replicas();
    replicas.insert("n4".into(), published());
    assert!(check_delivery(&published(), &replicas).is_pass());
}

#[test]
fn nothing_published_or_nothing_read_back_is_no_pass() {
    assert!(!check_delivery(&[], &replicas()).is_pass());
    assert!(!check_delivery(&published(), &BTreeMap::new()).is_pass());
    let twice = [Record::new("a", "k"), Record::new("a", "k")];
    let report = check_delivery(&twice, &BTreeMap::new());
    assert!(matches!(report.faults[0], DeliveryFault::Ambiguous { .. }), "{report}");
}
