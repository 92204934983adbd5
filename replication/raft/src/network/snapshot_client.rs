//! Sending a snapshot: a stream of bounded chunks.

use std::sync::Arc;
use std::time::Duration;

use meridian_model::{GroupId, NodeId};
use meridian_proto::internal as pb;
use openraft::errors::{StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::links::Links;
use crate::snapshot::{Cursor, Outgoing, SnapshotData};
use crate::types::TypeConfig;
use crate::wire::{encode_membership, position_to_wire, vote_from_wire, vote_to_wire};

type Failure = StreamingError<TypeConfig>;

/// How long the receiver may take to install what it got.
const INSTALL_MAX: Duration = Duration::from_secs(600);

fn failed(error: impl std::error::Error + 'static) -> Failure {
    StreamingError::Unreachable(Unreachable::new(&std::io::Error::other(error.to_string())))
}

/// Sends `snapshot` to a replica and waits until it is installed.
pub(super) async fn send(
    links: &Arc<Links>,
    group: GroupId,
    target: u64,
    node: NodeId,
    vote: VoteOf<TypeConfig>,
    snapshot: SnapshotOf<TypeConfig, SnapshotData>,
) -> Result<SnapshotResponse<TypeConfig>, Failure> {
    let SnapshotData::Outgoing(outgoing) = snapshot.snapshot else {
        return Err(failed(std::io::Error::other("a received snapshot is not for sending")));
    };
    let hello = links.hello(node);
    let meta = &snapshot.meta;
    let begin = pb::SnapshotBegin {
        group: group.0,
        to_replica: target,
        vote: Some(vote_to_wire(&vote)),
        boundary: meta.last_log_id.as_ref().map(position_to_wire),
        membership_at: meta.last_membership.log_id().as_ref().map(position_to_wire),
        membership: encode_membership(meta.last_membership.membership()).into(),
        tables_at: Some(position_to_wire(&outgoing.tables_at)),
        from_node: hello.from_node,
        cluster_id: hello.cluster_id,
    };
    let (parts, stream) = mpsc::channel(2);
    let feeding = feed(links, begin, outgoing, parts);
    let mut client = links.client(node).map_err(failed)?;
    let receiving = tokio::time::timeout(INSTALL_MAX, client.send_snapshot(ReceiverStream::new(stream)));
    let (fed, answer) = tokio::join!(feeding, receiving);
    fed.map_err(failed)?;
    let answer = answer.map_err(failed)?.map_err(failed)?.into_inner();
    Ok(SnapshotResponse::new(vote_from_wire(answer.vote).map_err(failed)?))
}

async fn feed(
    links: &Links,
    begin: pb::SnapshotBegin,
    outgoing: Outgoing,
    parts: mpsc::Sender<pb::SendSnapshotRequest>,
) -> Result<(), std::io::Error> {
    use pb::send_snapshot_request::Part;
    let send = async |part| parts.send(pb::SendSnapshotRequest { part: Some(part) }).await.is_ok();
    let mut rows = 0;
    let mut cursor = Cursor::State(None);
    let mut open = send(Part::Begin(begin)).await;
    while let Some((chunk, next)) = outgoing.chunk(cursor).await? {
        cursor = next;
        rows += chunk.len() as u64;
        links.pace().pass(chunk.iter().map(|row| row.key.len() + row.value.len()).sum()).await;
        let chunk = chunk.into_iter().map(|row| pb::SnapshotRow {
            table: u32::from(row.tag),
            key: row.key,
            value: row.value,
        });
        if !open {
            // The receiver hung up; its answer says why.
            return Ok(());
        }
        open = send(Part::Rows(pb::SnapshotRows { rows: chunk.collect() })).await;
    }
    send(Part::End(pb::SnapshotEnd { rows })).await;
    Ok(())
}
