//! Which partitions of a topic each node leads.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::Cluster;
use super::view::is_of_topic;

impl Cluster {
    /// The partitions of a topic by the node that leads them, by the latest term that a node knows of. Nodes that
    /// lead nothing are there too, those that do not answer are not.
    ///
    /// # Errors
    /// If no node answers.
    pub async fn led(&self, topic: &str) -> Result<BTreeMap<u64, Vec<u32>>> {
        let mut led: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut best: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for id in self.ids() {
            let Ok(seen) = self.ask(id).await else { continue };
            led.insert(id, Vec::new());
            let own = seen.groups.into_iter().filter(|group| group.leader_node == Some(id));
            for group in own.filter(|group| is_of_topic(group, topic)) {
                let known = best.entry(group.partition).or_insert((group.term, id));
                *known = (*known).max((group.term, id));
            }
        }
        ensure!(!led.is_empty(), "no node answers");
        for (partition, (_, node)) in best {
            led.entry(node).or_default().push(partition);
        }
        Ok(led)
    }
}
