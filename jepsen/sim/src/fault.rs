//! What can go wrong in a run, and which segments each fault stops.

use std::fmt;

use crate::plan::{HOSTS, NODES};

/// A fault. Nodes are places in the list of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node is cut off from the other nodes, and from clients if so.
    Island { node: usize, clients_too: bool },
    /// Two nodes do not reach each other; the third reaches both.
    Bridge { a: usize, b: usize },
    /// A node hears and is not heard.
    Mute { node: usize, clients_too: bool },
    /// A node is heard and does not hear.
    Deaf { node: usize, clients_too: bool },
    /// Segments to and from a node wait, and all arrive at the end.
    Hold { node: usize },
    /// Every segment to and from a node takes so long.
    Slow { node: usize, ms: u64 },
    /// Processes die; what they had written stays, connections are closed by the system.
    Kill { nodes: Vec<usize> },
    /// Nodes fall silent and lose what was not synced, but for its first few writes.
    PowerLoss { nodes: Vec<usize>, kept_writes: u64 },
    /// A node falls silent and comes back with an empty disk.
    Wipe { node: usize },
    /// A wall clock jumps.
    ClockJump { node: usize, by_ms: i64 },
}

/// A fault and when it is there, in milliseconds since the work began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) begin_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) fault: Fault,
}

impl Fault {
    /// The kind, as histories and tables name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Island { .. } => "partition",
            Self::Bridge { .. } => "bridge",
            Self::Mute { .. } => "mute",
            Self::Deaf { .. } => "deaf",
            Self::Hold { .. } => "hold",
            Self::Slow { .. } => "slow-link",
            Self::Kill { nodes } if nodes.len() > 1 => "kill-all",
            Self::Kill { .. } => "kill",
            Self::PowerLoss { nodes, .. } if nodes.len() == NODES => "power-loss-all",
            Self::PowerLoss { nodes, .. } if nodes.len() > 1 => "power-loss-two",
            Self::PowerLoss { .. } => "power-loss",
            Self::Wipe { .. } => "wipe",
            Self::ClockJump { .. } => "clock-jump",
        }
    }

    /// The nodes it is aimed at.
    pub(crate) fn nodes(&self) -> Vec<usize> {
        match self {
            Self::Island { node, .. }
            | Self::Mute { node, .. }
            | Self::Deaf { node, .. }
            | Self::Hold { node }
            | Self::Slow { node, .. }
            | Self::Wipe { node }
            | Self::ClockJump { node, .. } => vec![*node],
            Self::Bridge { a, b } => vec![*a, *b],
            Self::Kill { nodes } | Self::PowerLoss { nodes, .. } => nodes.clone(),
        }
    }

    /// The target in words.
    pub(crate) fn target(&self) -> String {
        let names: Vec<&str> = self.nodes().into_iter().map(|node| HOSTS[node]).collect();
        names.join("+")
    }

    /// Nodes whose process ends with this fault and begins anew when it is healed.
    pub(crate) fn stops(&self) -> Vec<usize> {
        match self {
            Self::Kill { nodes } | Self::PowerLoss { nodes, .. } => nodes.clone(),
            Self::Wipe { node } => vec![*node],
            _ => Vec::new(),
        }
    }

    /// Whether segments from one host to another are lost.
    pub(crate) fn cuts(&self, from: usize, to: usize) -> bool {
        let reaches = |host: usize, clients_too: bool| clients_too || host < NODES;
        match self {
            Self::Island { node, clients_too } => {
                (from == *node && reaches(to, *clients_too)) || (to == *node && reaches(from, *clients_too))
            }
            Self::Bridge { a, b } => (from, to) == (*a, *b) || (from, to) == (*b, *a),
            Self::Mute { node, clients_too } => from == *node && reaches(to, *clients_too),
            Self::Deaf { node, clients_too } => to == *node && reaches(from, *clients_too),
            Self::PowerLoss { nodes, .. } => nodes.contains(&from) || nodes.contains(&to),
            Self::Wipe { node } => from == *node || to == *node,
            Self::Hold { .. } | Self::Slow { .. } | Self::Kill { .. } | Self::ClockJump { .. } => false,
        }
    }

    /// Whether segments between two hosts wait.
    pub(crate) fn holds(&self, a: usize, b: usize) -> bool {
        matches!(self, Self::Hold { node } if a == *node || b == *node)
    }

    /// How long segments between two hosts take, where this fault decides it.
    pub(crate) fn slows(&self, a: usize, b: usize) -> Option<u64> {
        match self {
            Self::Slow { node, ms } if a == *node || b == *node => Some(*ms),
            _ => None,
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} {} {}", self.begin_ms, self.end_ms, self.fault.name(), self.fault.target())
    }
}
