//! Where nodes live on the network: loopback addresses of their own, or namespaces whose links can be cut.

pub(crate) mod names;
mod namespaces;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Result, bail};

use namespaces::Namespaces;

/// How nodes are placed on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Each node has an address of its own in 127.0.0.0/8. Nothing can be cut.
    Loopback,
    /// Each node has a network namespace; a bridge joins them and the clients. Needs root.
    Namespaces,
}

/// Who may be at an end of a cut link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A node.
    Node(u64),
    /// Every client of the run.
    Clients,
}

/// One direction of one link: packets from the first never reach the second, which is a node.
pub type Cut = (Peer, u64);

/// The network of one run.
#[derive(Debug)]
pub struct Network {
    number: u16,
    namespaces: Option<Namespaces>,
}

impl Network {
    /// Makes what the placement needs for nodes 1 to `nodes`.
    ///
    /// # Errors
    /// If the machine refuses, which it does without root.
    pub fn make(number: u16, placement: Placement, nodes: u64) -> Result<Self> {
        let namespaces = match placement {
            Placement::Loopback => None,
            Placement::Namespaces => Some(Namespaces::make(number, nodes)?),
        };
        Ok(Self { number, namespaces })
    }

    /// The address of a node.
    pub fn address(&self, node: u64) -> Ipv4Addr {
        let net = if self.namespaces.is_some() { 10 } else { 127 };
        names::address(net, self.number, node)
    }

    /// The namespace file of a node, where it has one.
    pub fn namespace(&self, node: u64) -> Option<PathBuf> {
        self.namespaces.as_ref().map(|_| names::namespace_file(self.number, node))
    }

    /// From now on exactly these directions are cut. All rules of one node change at once.
    ///
    /// # Errors
    /// On loopback, or if the rules are refused.
    pub fn cut(&self, cuts: &[Cut]) -> Result<()> {
        match &self.namespaces {
            Some(namespaces) => namespaces.cut(cuts),
            None if cuts.is_empty() => Ok(()),
            None => bail!("links on loopback cannot be cut; place the nodes in namespaces"),
        }
    }

    /// From now on nothing that is sent to this node arrives and nothing that it sends leaves it: to everybody
    /// else it is dead, without a word. All other links are whole. [`Network::cut`] without cuts gives it back.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn silence(&self, node: u64) -> Result<()> {
        match &self.namespaces {
            Some(namespaces) => namespaces.silence(node),
            None => bail!("a node on loopback cannot be silenced; place the nodes in namespaces"),
        }
    }

    /// Packets dropped at each node since its links were last cut.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub fn dropped(&self) -> Result<Vec<(u64, u64)>> {
        self.namespaces.as_ref().map_or_else(|| Ok(Vec::new()), Namespaces::dropped)
    }
}
