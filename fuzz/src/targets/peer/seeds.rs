//! Messages as nodes send them.

use bytes::Bytes;
use meridian_proto::internal::{self as pb, answer, append_answer, call, send_snapshot_request::Part};
use meridian_raft::types::log_id;
use meridian_raft::wire;
use prost::Message;

use crate::targets::{command, membership};

/// Every kind of message as a node sends it.
pub(in crate::targets) fn seeds() -> Vec<Vec<u8>> {
    let vote = Some(pb::Vote { term: 3, replica: 2, committed: true });
    let position = Some(wire::position_to_wire(&log_id(3, 17)));
    let committed = Some(wire::position_to_wire(&log_id(2, 9)));
    let payloads = command::seeds().into_iter().take(3).map(|payload| (1, Bytes::from(payload)));
    let membership = Bytes::from(membership::seeds().swap_remove(3));
    let payloads = payloads.chain([(0, Bytes::new()), (2, membership.clone())]);
    let entry = |((kind, payload), index)| pb::LogEntry { term: 3, index, kind, payload };
    let append = pb::AppendCall {
        vote,
        prev: position,
        commit: committed,
        quiet: true,
        entries: payloads.zip(18..).map(entry).collect(),
    };
    let voting = pb::VoteCall { vote, last: position, leadership_transfer: false };
    let transfer = pb::TransferCall { from_leader: vote, to_replica: 4, last: position };
    let bodies = [
        call::Body::Append(append),
        call::Body::Vote(voting),
        call::Body::PreVote(voting),
        call::Body::Transfer(transfer),
    ];
    let calls = bodies.into_iter().zip(1..).map(|(body, id)| pb::Call {
        id,
        group: 7,
        to_replica: 2,
        body: Some(body),
    });
    let hello = pb::Hello { from_node: 1, to_node: 2, cluster_id: vec![5; 16].into(), protocol_version: 1 };
    let frame =
        pb::ExchangeRequest { hello: Some(hello), calls: calls.collect(), clock_ms: 9, ..Default::default() };
    let begin =
        pb::SnapshotBegin { vote, boundary: position, membership, tables_at: position, ..Default::default() };
    let state = pb::SnapshotRow { table: 1, key: Bytes::new(), value: vec![1; 20].into() };
    let indexed = pb::SnapshotRow { table: 0, key: vec![0; 8].into(), value: vec![2; 60].into() };
    let part = |part| pb::SendSnapshotRequest { part: Some(part) }.encode_to_vec();
    let command = Bytes::from(command::seeds().swap_remove(8));
    let fenced = pb::FenceRequest { group: 7, producer_id: vec![9; 16].into(), epoch: 2 };
    let probe = pb::ProbeRequest {
        from_node: 1,
        cluster_name: "test".into(),
        incarnation: vec![4; 16].into(),
        with_groups: true,
    };
    let seeds = [
        (0, frame.encode_to_vec()),
        (1, part(Part::Begin(begin))),
        (1, part(Part::Rows(pb::SnapshotRows { rows: vec![state, indexed] }))),
        (1, part(Part::End(pb::SnapshotEnd { rows: 2 }))),
        (2, pb::ProposeControlRequest { command, from_node: 1, ..Default::default() }.encode_to_vec()),
        (3, fenced.encode_to_vec()),
        (4, probe.encode_to_vec()),
        (5, pb::ReadControlIndexRequest { from_node: 1, ..Default::default() }.encode_to_vec()),
    ];
    seeds.into_iter().chain(answers()).map(|(kind, message)| [vec![kind], message].concat()).collect()
}

/// What nodes answer, and the question for digests: kinds and messages.
fn answers() -> Vec<(u8, Vec<u8>)> {
    let vote = pb::Vote { term: 3, replica: 2, committed: true };
    let position = Some(wire::position_to_wire(&log_id(3, 17)));
    let appended = |result| answer::Body::Append(pb::AppendAnswer { result: Some(result) });
    let bodies = [
        appended(append_answer::Result::Matched(pb::AppendMatched { through: position })),
        appended(append_answer::Result::Conflict(pb::AppendConflict { at: position })),
        appended(append_answer::Result::HigherVote(vote)),
        answer::Body::Vote(pb::VoteAnswer { vote: Some(vote), granted: true, last: position }),
        answer::Body::Transfer(pb::TransferAnswer { refused: "the log is not flushed".into() }),
        answer::Body::Unavailable(pb::Unavailable { why: "the group does not run here".into() }),
    ];
    let answered = bodies.into_iter().zip(1..).map(|(body, id)| pb::Answer { id, body: Some(body) });
    let frame = pb::ExchangeResponse { answers: answered.collect(), clock_ms: 9, ..Default::default() };
    let life = Bytes::from_static(&[4; 16]);
    let probed = pb::ProbeResponse {
        node: 2,
        incarnation: life.clone(),
        cluster_name: "test".into(),
        cluster_id: vec![5; 16].into(),
        clock_ms: 9,
        founders: [(1, life)].into(),
        held_groups: vec![1, 7],
        led_groups: vec![7],
        raft_addresses: [(1, "n1:2".to_string())].into(),
    };
    let proposed =
        pb::ProposeControlResponse { reply: vec![17, 0, 0].into(), leader_node: Some(2), not_leader: true };
    let read = pb::ReadControlIndexResponse { index: 17, not_leader: true, leader_node: Some(2) };
    let fenced = pb::FenceResponse {
        not_leader: true,
        stale_current: Some(3),
        refused: "the topic is being deleted".into(),
        refused_reason: 4,
    };
    let digest = pb::StateDigest { group: 7, index: 17, digest: vec![3; 32].into() };
    vec![
        (6, frame.encode_to_vec()),
        (7, probed.encode_to_vec()),
        (8, pb::SendSnapshotResponse { vote: Some(vote) }.encode_to_vec()),
        (9, proposed.encode_to_vec()),
        (10, read.encode_to_vec()),
        (11, fenced.encode_to_vec()),
        (12, pb::StateDigestsRequest { from_node: 1 }.encode_to_vec()),
        (13, pb::StateDigestsResponse { digests: vec![digest] }.encode_to_vec()),
    ]
}
