//! Faults a harness put into the system and took out again.

use serde::{Deserialize, Serialize};

/// One end of a planned fault. What the harness found out about it is its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Kind of fault, such as `kill`, `partition` or `lying-fsync`.
    pub name: String,
    /// What it is aimed at: a node, a link, a disk.
    pub target: String,
    /// Which end of the fault this is.
    pub phase: FaultPhase,
    /// Whether it took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<FaultEffect>,
}

/// The beginning or the end of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPhase {
    /// Putting it in.
    Installed,
    /// Taking it out.
    Healed,
}

/// What became of an attempt to install or heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultEffect {
    /// It took effect.
    Installed,
    /// It was not attempted, for a reason the harness knows.
    Skipped,
    /// It may or may not have taken effect.
    Indeterminate,
}
