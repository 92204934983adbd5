//! Metadata operations on named topics: one replicated map, seen through five verbs.

use serde::{Deserialize, Serialize};

/// One metadata operation on one name.
///
/// An answer of the replicated map is `ok` even when it says no ("exists already", "no such topic"): only
/// then can a checker hold it to the state it was given in. `fail` means the operation never took effect
/// and says nothing about the state; `info` means it may have taken effect, now or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The verb.
    pub op: ControlOp,
    /// The topic's name; for `list` the prefix of names asked for, empty for all.
    pub key: String,
    /// The configuration written by `create` and `update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the map answered, and where in its Raft log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<(ControlAnswer, u64)>,
}

/// The five verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlOp {
    /// Make a topic that is not there.
    Create,
    /// Remove a topic that is there.
    Delete,
    /// Replace the configuration of a topic that is there.
    Update,
    /// Ask for the configuration.
    Describe,
    /// Ask which names with a prefix are there.
    List,
}

impl ControlOp {
    /// Whether the verb can change the map.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Delete | Self::Update)
    }
}

/// What the map can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// The write took effect.
    Done,
    /// Refused: the name is taken.
    Exists,
    /// Refused, or answered: there is no such name.
    Missing,
    /// The configuration asked for.
    Value(String),
    /// Every name with the prefix, in any order.
    Names(Vec<String>),
}
