//! The groups that run on this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::GroupId;
use parking_lot::RwLock;

use crate::group::Group;

/// Running groups by id.
#[derive(Default)]
pub struct Registry {
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
}

impl Registry {
    /// The group, if it runs here.
    pub fn get(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&group).cloned()
    }

    /// Adds a group that was opened.
    pub fn insert(&self, group: Arc<Group>) {
        self.groups.write().insert(group.id(), group);
    }

    /// Takes a group out; frames for it are refused from now on.
    pub fn remove(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.write().remove(&group)
    }

    /// All groups in order.
    pub fn all(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }
}
