//! What the nodes say about themselves: formed or not, who leads, how far a replica is.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use meridian_proto::admin::{GetClusterRequest, GetClusterResponse, GroupStatus};
use meridian_proto::v1::metadata_service_client::MetadataServiceClient;
use meridian_proto::v1::{GetLogResponse, LookupTopicRequest};
use meridian_workload::Whose;
use tonic::Status;

use super::Cluster;
use crate::wait;

/// How long one question to one node may take.
const ASK_MAX: Duration = Duration::from_secs(2);

impl Cluster {
    /// The cluster as one node sees it, asked once.
    ///
    /// # Errors
    /// If the node does not answer within two seconds.
    pub async fn ask(&self, node: u64) -> Result<GetClusterResponse> {
        let mut admin = AdminServiceClient::new(self.channel(node)?);
        let asked = admin.get_cluster(GetClusterRequest { groups: true });
        Ok(tokio::time::timeout(ASK_MAX, asked).await??.into_inner())
    }

    /// Waits until every node says that the cluster is formed.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn await_formed(&self, within: Duration) -> Result<()> {
        for id in self.ids() {
            let what = format!("node {id} to see the cluster formed");
            wait::until(&what, within, async || {
                let seen = self.ask(id).await.ok()?;
                (!seen.cluster_id.is_empty() && seen.nodes.len() as u64 >= self.setup().nodes).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// A group on the node that leads it, by the latest term that any node knows of.
    ///
    /// # Errors
    /// If nobody leads at the moment.
    pub async fn leader(&self, topic: &str, partition: u32) -> Result<(u64, GroupStatus)> {
        let led = self.leading(|group| is_of(group, topic, partition)).await;
        let (seen, group) = led.with_context(|| format!("nobody leads {topic}[{partition}]"))?;
        Ok((seen.answering_node, group))
    }

    /// What the node says that leads a group by the latest term any node knows of, and that group.
    pub(super) async fn leading(
        &self,
        is_meant: impl Fn(&GroupStatus) -> bool,
    ) -> Option<(GetClusterResponse, GroupStatus)> {
        let mut best: Option<(GetClusterResponse, GroupStatus)> = None;
        for id in self.ids() {
            let Ok(seen) = self.ask(id).await else { continue };
            let group = seen.groups.iter().find(|group| is_meant(group)).cloned();
            let Some(group) = group.filter(|group| group.leader_node == Some(id)) else { continue };
            if best.as_ref().is_none_or(|(_, other)| other.term < group.term) {
                best = Some((seen, group));
            }
        }
        best
    }

    /// The nodes that hold a copy, as the leader says.
    ///
    /// # Errors
    /// If nobody leads at the moment.
    pub async fn replicas(&self, topic: &str, partition: u32) -> Result<Vec<u64>> {
        Ok(self.leader(topic, partition).await?.1.voter_nodes)
    }

    /// Who leads what in the words of every node, for evidence.
    pub async fn testimony(&self, topic: &str) -> String {
        let mut told = String::new();
        for id in self.ids() {
            let groups = self.ask(id).await.map(|seen| seen.groups);
            let _ = writeln!(told, "node {id} says of its groups: {groups:#?}");
            let Ok(channel) = self.channel(id) else { continue };
            let mut metadata = MetadataServiceClient::new(channel);
            let asked = metadata.lookup_topic(LookupTopicRequest { topic: topic.into() });
            let route = tokio::time::timeout(ASK_MAX, asked)
                .await
                .map(|answer| answer.map(|a| a.into_inner().partitions));
            let _ = writeln!(told, "node {id} routes {topic} to: {route:#?}");
        }
        told
    }

    /// Waits until somebody leads.
    ///
    /// # Errors
    /// If nobody does in time.
    pub async fn await_leader(&self, topic: &str, partition: u32, within: Duration) -> Result<u64> {
        let what = format!("a leader of {topic}[{partition}]");
        wait::until(&what, within, async || self.leader(topic, partition).await.ok().map(|(id, _)| id)).await
    }

    /// The bounds of a log, asked once at one node.
    ///
    /// # Errors
    /// The status of the answer; `DEADLINE_EXCEEDED` if there was none in time.
    pub async fn log(
        &self,
        at: u64,
        topic: &str,
        partition: u32,
        whose: Whose,
    ) -> Result<GetLogResponse, Status> {
        meridian_workload::log(self, at, topic, partition, whose).await
    }

    /// Waits until every replica of a partition has all that is in the log now, with the same hash chain.
    ///
    /// # Errors
    /// If they do not in time; the error says how far each of them is.
    pub async fn await_converged(&self, topic: &str, partition: u32, within: Duration) -> Result<()> {
        let what = format!("the replicas of {topic}[{partition}] to converge");
        let mut last = String::new();
        let outcome = wait::until(&what, within, async || {
            let (equal, told) = self.compare(topic, partition).await;
            last = told;
            equal.then_some(())
        });
        outcome.await.map_err(|error| error.context(last))
    }

    async fn compare(&self, topic: &str, partition: u32) -> (bool, String) {
        let mut told = String::new();
        let mut heads = Vec::new();
        let replicas = match self.replicas(topic, partition).await {
            Ok(replicas) => replicas,
            Err(error) => return (false, format!("{error:#}")),
        };
        for &id in &replicas {
            let answer = self.log(id, topic, partition, Whose::Replica(id)).await;
            told.push_str(&match &answer {
                Ok(log) => format!("node {id} has {}..{}; ", log.log_start, log.log_end),
                Err(status) => format!("node {id}: {}; ", status.message()),
            });
            heads.extend(answer.ok().map(|log| (log.log_end, log.chain_head)));
        }
        let complete = heads.len() == replicas.len() && heads.windows(2).all(|pair| pair[0] == pair[1]);
        let Some((end, _)) = heads.first().filter(|_| complete) else { return (false, told) };
        match self.any_log(topic, partition).await {
            Ok(log) => (log.log_end == *end, told + &format!("the log ends at {}", log.log_end)),
            Err(error) => (false, told + &format!("the log: {error:#}")),
        }
    }

    /// The linearizable bounds, from whichever node answers.
    ///
    /// # Errors
    /// If none does; the error is the last node's.
    pub async fn any_log(&self, topic: &str, partition: u32) -> Result<GetLogResponse> {
        let mut last = None;
        for id in self.ids() {
            match self.log(id, topic, partition, Whose::Linearizable).await {
                Ok(log) => return Ok(log),
                Err(status) => last = Some(status),
            }
        }
        match last {
            Some(status) => Err(status.into()),
            None => bail!("there are no nodes"),
        }
    }
}

/// Groups name their topic by its resource; tests name it plainly.
pub(super) fn is_of_topic(group: &GroupStatus, topic: &str) -> bool {
    group.topic == topic || group.topic.ends_with(&format!("/{topic}"))
}

fn is_of(group: &GroupStatus, topic: &str, partition: u32) -> bool {
    is_of_topic(group, topic) && group.partition == partition
}
