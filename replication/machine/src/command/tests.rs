//! Commands survive the wire; anything else is an error, never a panic.

use meridian_model::topology::{NodeAddresses, NodeRecord, Retention};
use meridian_model::{ClusterId, Incarnation, NodeId, ProducerId, ReplicaId, TopicName, UnixMs};
use proptest::prelude::*;

use super::*;
use crate::control::change::KIND_LAST;

fn items() -> impl Strategy<Value = Vec<AppendItem>> {
    let item = (prop::collection::vec(any::<u8>(), 0..200), any::<u64>());
    let item = item.prop_map(|(batch, opened)| AppendItem::new(Bytes::from(batch), UnixMs(opened)));
    prop::collection::vec(item, 0..20)
}

fn partition_commands() -> impl Strategy<Value = PartitionCommand> {
    let stamp = any::<u64>().prop_map(UnixMs);
    let retention = any::<(Option<u64>, Option<u64>)>();
    let retention = retention.prop_map(|(age_ms, bytes)| Retention { age_ms, bytes });
    let policy = (retention, any::<u64>(), any::<u64>()).prop_map(|(retention, bytes, entries)| {
        PartitionPolicy { retention, segment_bytes: bytes, segment_entries: entries }
    });
    prop_oneof![
        (stamp.clone(), items()).prop_map(|(stamp, items)| PartitionCommand::Append { stamp, items }),
        (stamp.clone(), any::<u128>(), any::<u32>()).prop_map(|(stamp, id, epoch)| {
            PartitionCommand::Fence { stamp, producer: ProducerId::from_u128(id), epoch }
        }),
        (stamp.clone(), any::<u64>(), policy).prop_map(|(stamp, control_index, policy)| {
            PartitionCommand::SetPolicy { stamp, control_index, policy }
        }),
        (stamp.clone(), any::<[Option<u64>; 3]>()).prop_map(|(stamp, [before, keep_bytes, forget])| {
            let (before, forget_producers_before) = (before.map(UnixMs), forget.map(UnixMs));
            PartitionCommand::Trim { stamp, before, keep_bytes, forget_producers_before }
        }),
        (stamp, any::<u64>())
            .prop_map(|(stamp, control_index)| PartitionCommand::Seal { stamp, control_index }),
    ]
}

fn control_changes() -> Vec<ControlChange> {
    let topic = TopicName::parse("acme/air/flights").expect("a name");
    let (name, request_id) = ("air".to_owned(), "r-1".to_owned());
    let tenant = "acme".to_owned();
    let retention = Retention { age_ms: Some(1), bytes: None };
    let record = NodeRecord {
        node: NodeId(3),
        incarnation: Incarnation::from_u128(7),
        addresses: NodeAddresses { client: "a:1".into(), raft: "a:2".into() },
        zone: "z".into(),
        control_replica: ReplicaId(9),
    };
    let cluster = ClusterId::from_u128(5);
    vec![
        ControlChange::Form { cluster, name: name.clone(), nodes: vec![record.clone()] },
        ControlChange::RegisterNode { record },
        ControlChange::CreateTenant { name: name.clone(), request_id: request_id.clone() },
        ControlChange::DeleteTenant { name: name.clone(), request_id: request_id.clone() },
        ControlChange::CreateNamespace {
            tenant: tenant.clone(),
            name: name.clone(),
            request_id: request_id.clone(),
        },
        ControlChange::DeleteNamespace { tenant, name: name.clone(), request_id: request_id.clone() },
        ControlChange::CreateTopic {
            name: topic.clone(),
            partitions: 3,
            replication: 2,
            retention,
            seed: u128::MAX,
            request_id: request_id.clone(),
        },
        ControlChange::UpdateTopic {
            name: topic.clone(),
            retention,
            expected_version: Some(4),
            request_id: request_id.clone(),
        },
        ControlChange::AddPartitions {
            name: topic.clone(),
            total: 9,
            seed: 1,
            request_id: request_id.clone(),
        },
        ControlChange::DeleteTopic { name: topic.clone(), request_id: request_id.clone() },
        ControlChange::FinishDelete { name: topic.clone(), expected_version: None },
        ControlChange::OpenProducer { topic, name, request_id },
        ControlChange::TrimLog { closed: 9 },
    ]
}

#[test]
fn each_control_change_has_its_own_kind_and_survives_the_wire() {
    let changes = control_changes();
    for (change, kind) in changes.into_iter().zip(0u8..) {
        let command = Command::Control(ControlCommand { stamp: UnixMs(77), change });
        let entry = command.encode();
        assert_eq!(entry[..3], [FORMAT_VERSION, 1, kind]);
        assert_eq!(Command::decode(entry.clone()), Ok(command));
        let mut another_kind = entry.to_vec();
        another_kind[2] = (kind + 1) % 13;
        assert!(Command::decode(Bytes::from(another_kind)).is_err());
    }
}

/// A change here needs a new format version: older builds must refuse what they would misread. Control commands
/// that came later are pinned one by one in `control/tests/golden.rs`.
#[test]
fn the_entries_on_disk_are_those_of_version_1() {
    let policy = PartitionPolicy::default();
    let items = vec![AppendItem::new(Bytes::from_static(b"batch"), UnixMs(3)); 2];
    let (stamp, before) = (UnixMs(5), Some(UnixMs(4)));
    let partition = [
        PartitionCommand::Append { stamp, items },
        PartitionCommand::Fence { stamp, producer: ProducerId::from_u128(1), epoch: 2 },
        PartitionCommand::SetPolicy { stamp, control_index: 7, policy },
        PartitionCommand::Trim { stamp, before, keep_bytes: None, forget_producers_before: None },
        PartitionCommand::Seal { stamp, control_index: 8 },
    ];
    let control =
        control_changes().into_iter().take(12).map(|change| ControlCommand { stamp, change }.into());
    let mut hasher = blake3::Hasher::new();
    for command in partition.map(Command::from).into_iter().chain(control) {
        hasher.update(&command.encode());
    }
    assert_eq!(hasher.finalize().to_hex()[..16], *"bd939383deb0a4a4");
}

#[test]
fn what_a_newer_build_wrote_is_an_error_that_says_so() {
    const NEWER: u8 = KIND_LAST + 1;
    let decode = |bytes: &'static [u8]| Command::decode(Bytes::from_static(bytes));
    assert_eq!(decode(&[2, 0, 1]), Err(CommandError::Version(2)));
    assert_eq!(decode(&[1, 2, 1]), Err(CommandError::Machine(2)));
    assert_eq!(decode(&[1, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0]), Err(CommandError::Kind { kind: 15 }));
    assert_eq!(decode(&[1, 1, NEWER]), Err(CommandError::Kind { kind: NEWER }));
    assert_eq!(decode(&[1, 0]), Err(CommandError::Truncated));
}

#[test]
fn decoding_an_append_copies_no_batch() {
    let batch = Bytes::from(vec![7; 1000]);
    let items = vec![AppendItem::new(batch, UnixMs(1)); 3];
    let entry = Command::Partition(PartitionCommand::Append { stamp: UnixMs(5), items }).encode();
    let within = entry.as_ptr_range();
    for batch in append_batches(&entry).expect("an append") {
        assert!(within.contains(&batch.as_ptr()));
    }
}

#[test]
fn a_command_that_names_a_topic_by_what_is_no_name_is_refused() {
    let name = TopicName::parse("acme/air/flights").expect("a name");
    let change = ControlChange::DeleteTopic { name, request_id: String::new() };
    let entry = Command::Control(ControlCommand { stamp: UnixMs(7), change }).encode();
    let at = entry.windows(7).position(|bytes| bytes == b"flights").expect("the name is in it");
    for hostile in [b"fli/hts", b"../../x", b"fl\0ghts", b"fl ghts"] {
        let mut entry = entry.to_vec();
        entry[at..at + 7].copy_from_slice(hostile);
        let refused = Command::decode(Bytes::from(entry));
        assert_eq!(refused, Err(CommandError::Malformed("control command")), "{hostile:?}");
    }
}

#[test]
fn a_batch_that_is_not_there_is_an_error() {
    let entry = Command::Partition(PartitionCommand::Append { stamp: UnixMs(5), items: vec![] }).encode();
    assert_eq!(append_batch_at(&entry, 0), Err(CommandError::Position { position: 0, count: 0 }));
    let seal = Command::Partition(PartitionCommand::Seal { stamp: UnixMs(5), control_index: 1 }).encode();
    assert_eq!(append_batch_at(&seal, 0), Err(CommandError::NotAppend));
}

proptest! {
    #[test]
    fn partition_commands_survive_the_wire(command in partition_commands()) {
        let entry = Command::Partition(command.clone()).encode();
        prop_assert_eq!(Command::decode(entry), Ok(Command::Partition(command)));
    }

    #[test]
    fn each_batch_is_found_by_its_position(items in items()) {
        let batches: Vec<Bytes> = items.iter().map(|i| i.batch.clone()).collect();
        let entry = Command::Partition(PartitionCommand::Append { stamp: UnixMs(1), items }).encode();
        for (batch, position) in batches.iter().zip(0..) {
            prop_assert_eq!(append_batch_at(&entry, position), Ok(batch.clone()));
        }
        prop_assert_eq!(append_batches(&entry), Ok(batches));
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), machine in 0u8..3, kind in 0..=KIND_LAST + 1,
        prefixed: bool
    ) {
        let mut entry = if prefixed { vec![FORMAT_VERSION, machine, kind] } else { vec![] };
        entry.extend(bytes);
        let entry = Bytes::from(entry);
        let _ = Command::decode(entry.clone());
        let _ = append_batch_at(&entry, 0);
        let _ = append_batches(&entry);
    }

    #[test]
    fn a_damaged_command_never_panics(
        command in partition_commands(), at: prop::sample::Index, value: u8, cut: prop::sample::Index
    ) {
        let mut entry = Command::Partition(command).encode().to_vec();
        let at = at.index(entry.len());
        entry[at] = value;
        let whole = Bytes::from(entry);
        let short = whole.slice(..cut.index(whole.len()));
        for entry in [whole, short] {
            let _ = Command::decode(entry.clone());
            let _ = append_batch_at(&entry, 1);
        }
    }

    #[test]
    fn a_command_cut_short_is_never_another_command(
        command in partition_commands(), cut: prop::sample::Index
    ) {
        let entry = Command::Partition(command).encode();
        prop_assert!(Command::decode(entry.slice(..cut.index(entry.len()))).is_err());
    }
}
