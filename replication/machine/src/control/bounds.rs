//! The bounds of the control machine, which tests make small so that random runs meet every one of them.

use meridian_model::limits;

/// In production always [`Bounds::default`], the same in every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) nodes_max: usize,
    pub(crate) tenants_max: usize,
    pub(crate) namespaces_max: usize,
    pub(crate) topics_max: usize,
    pub(crate) topic_partitions_max: u32,
    pub(crate) groups_max: u64,
    pub(crate) producers_max: usize,
    pub(crate) requests_max: usize,
    pub(crate) subscriptions_topic_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) epoch_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            nodes_max: limits::NODES_MAX,
            tenants_max: limits::TENANTS_MAX,
            namespaces_max: limits::NAMESPACES_MAX,
            topics_max: limits::TOPICS_MAX,
            topic_partitions_max: limits::TOPIC_PARTITIONS_MAX,
            groups_max: limits::GROUPS_MAX,
            producers_max: limits::NAMED_PRODUCERS_MAX,
            requests_max: limits::REQUEST_IDS_MAX,
            subscriptions_topic_max: limits::SUBSCRIPTIONS_TOPIC_MAX,
            subscriptions_max: limits::SUBSCRIPTIONS_MAX,
            epoch_max: u32::MAX,
        }
    }
}
