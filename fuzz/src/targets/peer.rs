//! What nodes say to each other: frames of a lane, snapshots, questions. Each message means the same when it is
//! written and read again; the votes, positions, entries, memberships, commands and rows in it are refused, or what
//! they say they are.

mod seeds;

use meridian_machine::Command;
use meridian_model::GroupId;
use meridian_proto::internal::{self as pb, call, send_snapshot_request::Part};
use meridian_proto::requests;
use meridian_raft::snapshot::{self, SnapshotRow};
use meridian_raft::types::{Entry, term_of};
use meridian_raft::wire;
use meridian_storage::Family;
use meridian_storage::keys::{index, state};
use prost::Message;

pub(super) use self::seeds::seeds;
use super::request::{decode, plain};
use super::{Met, room};
use crate::memory;

/// What the first byte of an input chooses: a message, and what is made of it.
pub(super) const KINDS: &[fn(&[u8]) -> Met] = &[
    exchange,
    send_snapshot,
    propose,
    fence,
    plain::<pb::ProbeRequest>,
    plain::<pb::ReadControlIndexRequest>,
    plain::<pb::ExchangeResponse>,
    plain::<pb::ProbeResponse>,
    snapshot_answer,
    plain::<pb::ProposeControlResponse>,
    plain::<pb::ReadControlIndexResponse>,
    plain::<pb::FenceResponse>,
    plain::<pb::StateDigestsRequest>,
    plain::<pb::StateDigestsResponse>,
];

/// The input is the kind of a message, then the message.
pub(super) fn check(input: &[u8]) -> Met {
    let Some((kind, message)) = input.split_first() else { return Met::Refused };
    KINDS[usize::from(*kind) % KINDS.len()](message)
}

fn met(understood: bool) -> Met {
    if understood { Met::Understood } else { Met::Refused }
}

fn exchange(bytes: &[u8]) -> Met {
    let Some(frame) = decode::<pb::ExchangeRequest>(bytes) else { return Met::Refused };
    let understood = frame.calls.into_iter().map(|call| match call.body {
        Some(call::Body::Append(append)) => entries(append),
        Some(call::Body::Vote(vote) | call::Body::PreVote(vote)) => voted(vote.vote, vote.last),
        Some(call::Body::Transfer(transfer)) => voted(transfer.from_leader, transfer.last),
        None => false,
    });
    // Every call is looked at, also behind one that is refused.
    met(understood.fold(frame.hello.is_some(), |any, this| any | this))
}

fn voted(vote: Option<pb::Vote>, last: Option<pb::LogPosition>) -> bool {
    if let Some(position) = last {
        let id = wire::position_from_wire(position);
        assert_eq!(wire::position_to_wire(&id), position);
        assert_eq!(wire::log_id_of(wire::at_of(&id)), id);
    }
    let Ok(understood) = wire::vote_from_wire(vote) else { return false };
    assert_eq!(Some(wire::vote_to_wire(&understood)), vote);
    true
}

fn entries(append: pb::AppendCall) -> bool {
    let sent = append.clone();
    let understood = memory::within(room(&append.encode_to_vec(), 256), || wire::append_from_wire(append));
    let Ok(request) = understood else { return false };
    assert!(voted(sent.vote, sent.prev) && voted(sent.vote, sent.commit));
    assert_eq!(Some(wire::vote_to_wire(&request.vote)), sent.vote);
    assert_eq!(request.prev_log_id.as_ref().map(wire::position_to_wire), sent.prev);
    assert_eq!(request.leader_commit.as_ref().map(wire::position_to_wire), sent.commit);
    assert_eq!(request.entries.len(), sent.entries.len());
    for (entry, sent) in request.entries.iter().zip(&sent.entries) {
        let entry: &Entry = entry;
        assert_eq!((term_of(&entry.log_id), entry.log_id.index), (sent.term, sent.index));
        let (kind, payload) = wire::entry_parts(entry);
        assert_eq!(kind as u32, sent.kind);
        assert_eq!(wire::entry_from(sent.term, sent.index, kind, payload).as_ref(), Ok(entry));
    }
    true
}

fn send_snapshot(bytes: &[u8]) -> Met {
    match decode::<pb::SendSnapshotRequest>(bytes).and_then(|request| request.part) {
        Some(Part::Begin(begin)) => {
            let positions = [begin.boundary, begin.membership_at, begin.tables_at];
            let sound = positions.map(|position| voted(begin.vote, position));
            met(sound[0] && wire::decode_membership(&begin.membership).is_ok())
        }
        Some(Part::Rows(chunk)) => met(chunk.rows.into_iter().map(row).fold(false, |any, this| any | this)),
        Some(Part::End(_)) => Met::Understood,
        None => Met::Refused,
    }
}

/// The answer to a snapshot: the vote of whoever took it.
fn snapshot_answer(bytes: &[u8]) -> Met {
    let Some(answer) = decode::<pb::SendSnapshotResponse>(bytes) else { return Met::Refused };
    met(voted(answer.vote, None))
}

/// A row that is taken in lies, once it is in place, where its family is looked for.
fn row(sent: pb::SnapshotRow) -> bool {
    let Ok(row) = SnapshotRow::from_wire(sent.clone()) else { return false };
    assert_eq!((u32::from(row.tag), &row.key, &row.value), (sent.table, &sent.key, &sent.value));
    let group = GroupId(7);
    match snapshot::place(&row.staged(group)) {
        Some((Family::Index, key)) => {
            assert_eq!(index::decode(&key).map(|(group, _)| group), Ok(group));
            assert!(index::decode_row(&row.value).is_ok());
        }
        Some((Family::State, key)) => {
            assert_eq!(state::decode(&key).map(|(group, _, key)| (group, key)), Ok((group, &row.key[..])));
        }
        other => panic!("{row:?} belongs to {other:?}"),
    }
    true
}

fn propose(bytes: &[u8]) -> Met {
    let Some(request) = decode::<pb::ProposeControlRequest>(bytes) else { return Met::Refused };
    met(matches!(Command::decode(request.command), Ok(Command::Control(_))))
}

fn fence(bytes: &[u8]) -> Met {
    let Some(request) = decode::<pb::FenceRequest>(bytes) else { return Met::Refused };
    let producer = requests::producer(&request.producer_id);
    assert_eq!(producer.is_ok(), request.producer_id.len() == 16);
    met(producer.is_ok_and(|producer| producer.0 == *request.producer_id))
}
