//! Receiving a snapshot: rows go to staging, and only a complete one is installed.

use meridian_model::GroupId;
use meridian_proto::internal as pb;
use openraft::storage::Snapshot;
use pb::send_snapshot_request::Part;
use tonic::{Status, Streaming};

use crate::group::Group;
use crate::registry::Registry;
use crate::snapshot::{Received, SnapshotData, SnapshotRow, Staging};
use crate::types::{SnapshotMeta, StoredMembership};
use crate::wire::{decode_membership, position_from_wire, vote_from_wire, vote_to_wire};

fn bad(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Takes one snapshot in and installs it.
pub(super) async fn receive(
    registry: &Registry,
    mut parts: Streaming<pb::SendSnapshotRequest>,
    check: impl Fn(&pb::SnapshotBegin) -> Result<(), Status>,
) -> Result<pb::SendSnapshotResponse, Status> {
    let begin = match parts.message().await?.and_then(|request| request.part) {
        Some(Part::Begin(begin)) => begin,
        _ => return Err(bad("a snapshot begins with its description")),
    };
    check(&begin)?;
    let group = registry.get(GroupId(begin.group)).filter(|group| group.replica().0 == begin.to_replica);
    let group = group.ok_or_else(|| Status::unavailable("the replica does not run here"))?;
    let one_at_a_time = group.incoming_snapshot().await;
    let staged = stage(&group, &mut parts).await?;
    let vote = vote_from_wire(begin.vote).map_err(bad)?;
    let membership = decode_membership(&begin.membership).map_err(bad)?;
    let meta = SnapshotMeta {
        last_log_id: begin.boundary.map(position_from_wire),
        last_membership: StoredMembership::new(begin.membership_at.map(position_from_wire), membership),
    };
    let tables_at = begin.tables_at.map(position_from_wire).ok_or_else(|| bad("tables_at is missing"))?;
    tracing::info!(group = %group.id(), rows = staged, "snapshot received");
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(Received { tables_at }) };
    // A sender that goes away ends this call, but not the installation: until that is over the staged rows are
    // not another one's to replace.
    let installing = tokio::spawn(async move {
        let installed = group.raft().install_full_snapshot(vote, snapshot).await;
        drop(one_at_a_time);
        installed
    });
    let response = installing.await.map_err(|error| Status::unavailable(error.to_string()))?;
    let response = response.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(pb::SendSnapshotResponse { vote: Some(vote_to_wire(&response.vote)) })
}

async fn stage(group: &Group, parts: &mut Streaming<pb::SendSnapshotRequest>) -> Result<u64, Status> {
    let failed = |error: std::io::Error| Status::unavailable(error.to_string());
    let mut staging = Staging::begin(group.id(), group.writer().clone()).await.map_err(failed)?;
    loop {
        let part = parts.message().await?.and_then(|request| request.part);
        match part {
            Some(Part::Rows(chunk)) => {
                let rows = chunk.rows.into_iter().map(SnapshotRow::from_wire);
                staging.add(rows.collect::<Result<_, _>>().map_err(bad)?).await.map_err(failed)?;
            }
            Some(Part::End(end)) if end.rows == staging.rows() => return Ok(end.rows),
            _ => return Err(bad("the snapshot is incomplete")),
        }
    }
}
