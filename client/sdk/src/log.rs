//! Where a partition's log begins and ends.

use futures::FutureExt;
use meridian_model::{LogId, NodeId, Offset};
use meridian_proto::v1::GetLogRequest;
use meridian_proto::v1::read_service_client::ReadServiceClient;

use crate::metadata::log_id;
use crate::{Client, Error};

/// The bounds of one partition's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// The oldest offset kept.
    pub start: Offset,
    /// The offset that the next message will get.
    pub end: Offset,
    /// The identity of this history.
    pub log: LogId,
    /// The head of the hash chain at `end`: 32 bytes. Equal in all replicas at the same end.
    pub chain_head: Vec<u8>,
    /// The last Raft index that is applied where this was read.
    pub applied_index: u64,
    /// Bytes of stored batches between start and end.
    pub bytes: u64,
}

impl Client {
    /// The bounds of a partition as its leader has them. `linearizable`: confirmed by a quorum, so that nothing
    /// acked before this call is missing.
    pub async fn get_log(&self, topic: &str, partition: u32, linearizable: bool) -> Result<LogInfo, Error> {
        self.log_of(GetLogRequest { topic: topic.into(), partition, linearizable, replica_node: None }).await
    }

    /// The bounds of a partition as the copy on `node` has applied it.
    pub async fn get_log_of_replica(
        &self,
        topic: &str,
        partition: u32,
        node: NodeId,
    ) -> Result<LogInfo, Error> {
        let replica_node = Some(node.0);
        self.log_of(GetLogRequest { topic: topic.into(), partition, linearizable: false, replica_node }).await
    }

    /// The offset that the next message of the partition will get; see [`Client::get_log`].
    pub async fn end_offset(&self, topic: &str, partition: u32, linearizable: bool) -> Result<Offset, Error> {
        self.get_log(topic, partition, linearizable).await.map(|log| log.end)
    }

    pub(crate) async fn log_of(&self, request: GetLogRequest) -> Result<LogInfo, Error> {
        let shared = &self.shared;
        let route = shared.route(&request.topic).await?;
        let first = match request.replica_node {
            Some(node) => route.nodes.get(&NodeId(node)).cloned(),
            None => route.leader_address(request.partition).map(String::from),
        };
        let first = first.filter(|address| !shared.channels.is_suspect(address));
        let response = shared
            .call_as(shared.usual("get log", first), |channel| {
                let request = request.clone();
                async move { ReadServiceClient::new(channel).get_log(request).await }.boxed()
            })
            .await?;
        Ok(LogInfo {
            start: Offset(response.log_start),
            end: Offset(response.log_end),
            log: log_id(&response.log_id)?,
            chain_head: response.chain_head.to_vec(),
            applied_index: response.applied_index,
            bytes: response.log_bytes,
        })
    }
}
