//! Who belongs to the region, and what each node is there for: what the harness knows, and what the region says.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_model::GroupId;
use meridian_proto::admin::NodeStatus;

use super::{Cluster, READY_MAX};
use crate::wait;

/// The nodes of a region, as the node sees them that leads its control group.
#[derive(Debug, Clone)]
pub struct Roster {
    /// The node that leads the control group.
    pub leader: u64,
    /// Every node that the region knows.
    pub nodes: Vec<NodeStatus>,
}

impl Roster {
    /// One node, if the region knows it.
    pub fn node(&self, id: u64) -> Option<&NodeStatus> {
        self.nodes.iter().find(|status| status.node == id)
    }

    /// Copies on their way, each counted at both ends.
    pub fn moving(&self) -> u64 {
        self.nodes.iter().map(|status| status.moving).sum()
    }
}

impl Cluster {
    /// Starts a spare node with its empty folder, and waits until the region counts it among its own.
    ///
    /// # Errors
    /// If it does not listen, or is not let in, in time.
    pub async fn join(&self, id: u64) -> Result<Duration> {
        let begun = Instant::now();
        self.node(id)?.start()?;
        self.await_ready(id, READY_MAX).await?;
        let what = format!("node {id} to be one of the region");
        self.await_roster(&what, READY_MAX, |roster| roster.node(id).is_some_and(|node| node.reachable))
            .await?;
        self.present().insert(id);
        Ok(begun.elapsed())
    }

    /// A node has left for good: it is not started again, and nobody turns to it.
    pub fn dismiss(&self, id: u64) {
        self.present().remove(&id);
    }

    /// The nodes as the region says now.
    ///
    /// # Errors
    /// If nobody leads the control group at the moment.
    pub async fn roster(&self) -> Result<Roster> {
        let control = self.leading(|group| GroupId(group.group).is_control()).await;
        let (seen, _) = control.context("nobody leads the control group")?;
        Ok(Roster { leader: seen.answering_node, nodes: seen.nodes })
    }

    /// Waits until the region says of its nodes what is wanted.
    ///
    /// # Errors
    /// If it does not in time; the error holds what it said last.
    pub async fn await_roster(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Roster) -> bool,
    ) -> Result<Roster> {
        let mut last = String::new();
        let outcome = wait::until(what, within, async || match self.roster().await {
            Ok(roster) if wanted(&roster) => Some(roster),
            Ok(roster) => {
                last = format!("{roster:#?}");
                None
            }
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        });
        outcome.await.map_err(|error| error.context(last))
    }

    /// How many groups a node leads in its own words.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn leads(&self, id: u64) -> Result<usize> {
        let groups = self.ask(id).await?.groups;
        Ok(groups.iter().filter(|group| group.leader_node == Some(id)).count())
    }

    /// Waits until every partition of a topic has so many voting copies, all of them on these nodes, nobody is
    /// learning, and no copy of any topic is on its way.
    ///
    /// # Errors
    /// If that is not so in time; the error says what was the case last.
    pub async fn await_settled(
        &self,
        (topic, partitions): (&str, u32),
        copies: usize,
        on: &[u64],
        within: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        for partition in 0..partitions {
            let what = format!("{copies} copies of {topic}[{partition}] on {on:?}");
            let mut last = String::new();
            let left = within.saturating_sub(begun.elapsed());
            let outcome = wait::until(&what, left, async || {
                let (_, group) = self.leader(topic, partition).await.ok()?;
                last = format!("voters on {:?}, learners on {:?}", group.voter_nodes, group.learner_nodes);
                let placed = group.voter_nodes.iter().all(|node| on.contains(node));
                (placed && group.voter_nodes.len() == copies && group.learner_nodes.is_empty()).then_some(())
            });
            outcome.await.map_err(|error| error.context(last))?;
        }
        let left = within.saturating_sub(begun.elapsed());
        self.await_roster("no copy to be on its way", left, |roster| roster.moving() == 0).await.map(drop)
    }

    pub(super) fn present(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
