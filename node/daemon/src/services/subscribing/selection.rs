//! Which topics a consumer means: by name, and by the beginning of the name.

use std::collections::BTreeMap;

use meridian_machine::control::ControlMachine;
use meridian_model::TopicName;
use meridian_model::topology::Topic;
use meridian_proto::requests::topic_name;
use meridian_proto::v1::Failure;

/// Names and patterns that one consumer may give.
const NAMED_MAX: usize = 256;
/// Partitions that one consumer may take part in.
pub(super) const PARTITIONS_MAX: usize = 4_096;

/// The topics that are meant.
#[derive(Clone, Debug)]
pub(in crate::services) struct Selection {
    names: Vec<TopicName>,
    /// Topics of a namespace whose names begin so.
    prefixes: Vec<TopicName>,
    /// Every topic of a namespace, by some topic name in it.
    namespaces: Vec<(String, String)>,
}

impl Selection {
    /// From what the consumer wrote.
    pub(in crate::services) fn parse(topics: &[String]) -> Result<Self, Failure> {
        if topics.is_empty() || topics.len() > NAMED_MAX {
            let why = format!("{} are named; at least 1, at most {NAMED_MAX}", topics.len());
            return Err(Failure::invalid("topics", why));
        }
        let mut selection = Self { names: Vec::new(), prefixes: Vec::new(), namespaces: Vec::new() };
        for topic in topics {
            match topic.strip_suffix('*') {
                None => selection.names.push(topic_name(topic)?),
                // A star alone: any name will do to learn the namespace.
                Some(prefix) if prefix.ends_with('/') => {
                    let any = topic_name(&format!("{prefix}any"))?;
                    selection.namespaces.push((any.tenant().into(), any.namespace().into()));
                }
                Some(prefix) => selection.prefixes.push(topic_name(prefix)?),
            }
        }
        Ok(selection)
    }

    /// Topics that are meant by name.
    pub(super) fn names(&self) -> &[TopicName] {
        &self.names
    }

    fn means(&self, name: &TopicName) -> bool {
        let same = |tenant: &str, namespace: &str| name.tenant() == tenant && name.namespace() == namespace;
        self.names.contains(name)
            || self.namespaces.iter().any(|(tenant, namespace)| same(tenant, namespace))
            || self.prefixes.iter().any(|prefix| {
                same(prefix.tenant(), prefix.namespace()) && name.topic().starts_with(prefix.topic())
            })
    }

    /// The topics that exist, with the number of their partitions. `None`: more than one consumer may take part in.
    pub(super) fn of(&self, machine: &ControlMachine) -> Option<BTreeMap<TopicName, u32>> {
        let meant = |topic: &&Topic| !topic.deleting && self.means(&topic.name);
        let (mut found, mut partitions) = (BTreeMap::new(), 0);
        for topic in machine.topics().filter(meant) {
            partitions += topic.partitions.len();
            if partitions > PARTITIONS_MAX {
                return None;
            }
            found.insert(topic.name.clone(), topic.partitions.len() as u32);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(topics: &[&str]) -> Selection {
        let topics: Vec<String> =
            topics.iter().map(|name| format!("tenants/t/namespaces/n/topics/{name}")).collect();
        Selection::parse(&topics).expect("names and patterns")
    }

    fn name(name: &str) -> TopicName {
        TopicName::new("t", "n", name).expect("a name")
    }

    #[test]
    fn a_star_at_the_end_means_every_topic_that_begins_so() {
        let selection = selection(&["orders", "eu-*"]);
        let meant = ["orders", "orders-2", "eu-1", "eu-", "us-1"].map(|topic| selection.means(&name(topic)));
        assert_eq!(meant, [true, false, true, true, false]);
        let other = TopicName::new("t", "m", "eu-1").expect("a name");
        assert!(!selection.means(&other), "another namespace");
    }

    #[test]
    fn a_star_alone_means_the_namespace() {
        let selection = selection(&["*"]);
        assert!(selection.means(&name("anything")));
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        assert!(Selection::parse(&[]).is_err());
        assert!(Selection::parse(&["*".into()]).is_err());
        assert!(Selection::parse(&["tenants/*/namespaces/n/topics/x".into()]).is_err());
        assert!(Selection::parse(&vec!["tenants/t/namespaces/n/topics/x".to_string(); 257]).is_err());
    }
}
