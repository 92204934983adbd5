//! What a cluster is made of, before it is.

use std::net::Ipv4Addr;

use super::config::LimitsSection;
use crate::disk::DiskKind;
use crate::net::Placement;

/// What a cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How many nodes found the region.
    pub nodes: u64,
    /// How many more there are that join later, or never. They are numbered after the founders.
    pub spares: u64,
    /// Where they live on the network.
    pub placement: Placement,
    /// What their data lies on.
    pub disk: DiskKind,
    /// Never sync: the negative control of every durability test.
    pub unsafe_no_sync: bool,
    /// Share of the disk in use above which publishes are refused; none: the node's default.
    pub watermark_percent: Option<u64>,
    /// Whether the nodes' syncs can be made to lie.
    pub may_lie: bool,
    /// Whether the nodes' clocks can be moved.
    pub movable_clocks: bool,
    /// How long a node is silent until its copies are made anew elsewhere; none: the node's default.
    pub dead_after_ms: Option<u64>,
    /// What may be in memory; none: the node's defaults.
    pub memory: Option<Memory>,
    /// How long leaders may be silent.
    pub timing: Timing,
}

/// Bounds on what a node keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What clients may make it hold.
    pub limits: LimitsSection,
    /// Recent log entries.
    pub tail_bytes: u64,
    /// RocksDB's cache.
    pub cache_bytes: u64,
    /// RocksDB's memtables.
    pub memtable_bytes: u64,
}

/// How fast nodes notice that a leader is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Faster than by default, so that faults take less time.
    Brisk,
    /// As nodes do it that are told nothing.
    Usual,
}

impl Default for Setup {
    /// Three nodes on loopback with plain folders.
    fn default() -> Self {
        Self {
            nodes: 3,
            spares: 0,
            placement: Placement::Loopback,
            disk: DiskKind::Folder,
            unsafe_no_sync: false,
            watermark_percent: None,
            may_lie: false,
            movable_clocks: false,
            dead_after_ms: None,
            memory: None,
            timing: Timing::Brisk,
        }
    }
}

/// One node's place, before its configuration is written.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Member {
    pub(super) fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.address)
    }

    pub(super) fn zone(&self) -> String {
        char::from(b'a' + (self.id.saturating_sub(1) % 3) as u8).to_string()
    }
}
