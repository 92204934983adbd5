//! openraft's types as bytes: on the wire, and in the meta family.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meridian_machine::At;
use meridian_proto::internal as pb;
use meridian_storage::keys::entry::{EntryKind, StoredEntry};
use serde::{Deserialize, Serialize};

use crate::types::{
    AppendRequest, CommandBytes, Entry, LogId, Membership, Payload, ReplicaNode, StoredMembership, Vote,
    log_id, term_of,
};

/// Bytes from disk or wire are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for std::io::Error {
    fn from(error: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredVote {
    term: u64,
    replica: u64,
    committed: bool,
}

/// A vote as stored.
pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    let stored = StoredVote {
        term: vote.leader_id().term,
        replica: vote.leader_id().voted_for,
        committed: vote.is_committed(),
    };
    postcard::to_stdvec(&stored).unwrap_or_default()
}

/// Back from a stored vote.
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, Malformed> {
    let stored: StoredVote = postcard::from_bytes(bytes).map_err(|_| Malformed("vote"))?;
    Ok(make_vote(stored.term, stored.replica, stored.committed))
}

fn make_vote(term: u64, replica: u64, committed: bool) -> Vote {
    match committed {
        true => Vote::new_committed(term, replica),
        false => Vote::new(term, replica),
    }
}

#[derive(Serialize, Deserialize)]
struct MembershipRow {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, ReplicaNode>,
}

/// A membership as an entry carries it.
pub fn encode_membership(membership: &Membership) -> Vec<u8> {
    let row = MembershipRow {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, node)| (*id, *node)).collect(),
    };
    postcard::to_stdvec(&row).unwrap_or_default()
}

/// Back from an entry's membership.
pub fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    let row: MembershipRow = postcard::from_bytes(bytes).map_err(|_| Malformed("membership"))?;
    if row.configs.is_empty() && row.nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(row.configs, row.nodes).map_err(|_| Malformed("membership"))
}

#[derive(Serialize, Deserialize)]
struct StoredMembershipRow {
    at: Option<(u64, u64)>,
    membership: Vec<u8>,
}

/// A membership with the position that set it.
pub fn encode_stored_membership(stored: &StoredMembership) -> Vec<u8> {
    let at = stored.log_id().as_ref().map(|id| (term_of(id), id.index));
    let row = StoredMembershipRow { at, membership: encode_membership(stored.membership()) };
    postcard::to_stdvec(&row).unwrap_or_default()
}

/// Back from a stored membership.
pub fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, Malformed> {
    let row: StoredMembershipRow = postcard::from_bytes(bytes).map_err(|_| Malformed("membership"))?;
    let at = row.at.map(|(term, index)| log_id(term, index));
    Ok(StoredMembership::new(at, decode_membership(&row.membership)?))
}

/// Kind and payload of an entry, as disk and wire carry them.
pub fn entry_parts(entry: &Entry) -> (EntryKind, Bytes) {
    match &entry.payload {
        Payload::Blank => (EntryKind::Blank, Bytes::new()),
        Payload::Normal(command) => (EntryKind::Command, command.0.clone()),
        Payload::Membership(membership) => (EntryKind::Membership, encode_membership(membership).into()),
    }
}

/// An entry from its parts.
pub fn entry_from(term: u64, index: u64, kind: EntryKind, payload: Bytes) -> Result<Entry, Malformed> {
    let payload = match kind {
        EntryKind::Blank => Payload::Blank,
        EntryKind::Command => Payload::Normal(CommandBytes(payload)),
        EntryKind::Membership => Payload::Membership(decode_membership(&payload)?),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// An entry from disk.
pub fn entry_of_stored(stored: StoredEntry) -> Result<Entry, Malformed> {
    entry_from(stored.term, stored.index, stored.kind, stored.payload)
}

/// A position for the machine.
pub fn at_of(id: &LogId) -> At {
    At { term: term_of(id), index: id.index }
}

/// A position from the machine.
pub fn log_id_of(at: At) -> LogId {
    log_id(at.term, at.index)
}

/// A vote for the wire.
pub fn vote_to_wire(vote: &Vote) -> pb::Vote {
    pb::Vote {
        term: vote.leader_id().term,
        replica: vote.leader_id().voted_for,
        committed: vote.is_committed(),
    }
}

/// A vote from the wire.
pub fn vote_from_wire(vote: Option<pb::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or(Malformed("vote"))?;
    Ok(make_vote(vote.term, vote.replica, vote.committed))
}

/// A position for the wire.
pub fn position_to_wire(id: &LogId) -> pb::LogPosition {
    pb::LogPosition { term: term_of(id), index: id.index }
}

/// A position from the wire.
pub fn position_from_wire(position: pb::LogPosition) -> LogId {
    log_id(position.term, position.index)
}

/// A slice keeps the whole frame in memory that it is part of, and the log keeps recent entries: below this an entry
/// is copied out.
const SLICE_BYTES_MIN: usize = 32 * 1024;

fn kept_alone(payload: Bytes) -> Bytes {
    match payload.len() < SLICE_BYTES_MIN {
        true => Bytes::copy_from_slice(&payload),
        false => payload,
    }
}

/// Entries from the wire.
pub fn append_from_wire(call: pb::AppendCall) -> Result<AppendRequest, Malformed> {
    let entries = call.entries.into_iter().map(|entry| {
        let kind =
            u8::try_from(entry.kind).ok().and_then(EntryKind::from_tag).ok_or(Malformed("entry kind"))?;
        entry_from(entry.term, entry.index, kind, kept_alone(entry.payload))
    });
    Ok(AppendRequest {
        vote: vote_from_wire(call.vote)?,
        prev_log_id: call.prev.map(position_from_wire),
        leader_commit: call.commit.map(position_from_wire),
        entries: entries.collect::<Result<Vec<Entry>, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log keeps of an entry from another node, and the frame that the entry came in.
    fn kept_of(bytes: usize) -> (Bytes, Bytes) {
        let frame = Bytes::from(vec![7; 2 * SLICE_BYTES_MIN]);
        let payload = frame.slice(..bytes);
        (kept_alone(payload), frame)
    }

    #[test]
    fn a_small_entry_does_not_keep_the_frame_that_it_came_in() {
        let (kept, frame) = kept_of(100);
        assert_eq!(kept, frame.slice(..100));
        assert!(frame.is_unique(), "the frame is in use still");
    }

    #[test]
    fn a_large_entry_is_not_copied() {
        let (kept, frame) = kept_of(SLICE_BYTES_MIN);
        assert_eq!(kept.as_ptr(), frame.as_ptr());
    }
}
