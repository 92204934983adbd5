//! Network namespaces joined by a bridge, and packet filters that cut their links.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::{Cut, Peer, names};
use crate::{shell, sweep};

/// The chain that holds a node's cuts.
const CHAIN: &str = "MERIDIAN";

/// The namespaces of one run. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Namespaces {
    number: u16,
    nodes: u64,
}

impl Namespaces {
    pub(super) fn make(number: u16, nodes: u64) -> Result<Self> {
        let made = Self { number, nodes };
        let bridge = names::bridge(number);
        let clients = names::address(10, number, names::CLIENTS);
        let mut script = format!("link add {bridge} type bridge\n");
        let _ = writeln!(script, "addr add {clients}/24 dev {bridge}\nlink set {bridge} up");
        for node in 1..=nodes {
            let namespace = names::namespace(number, node);
            shell::run("ip", &["netns", "add", &namespace])?;
            let link = names::link(number, node);
            let _ = writeln!(script, "link add {link} type veth peer name eth0 netns {namespace}");
            let _ = writeln!(script, "link set {link} master {bridge} up");
        }
        shell::feed("ip", &["-batch", "-"], &script).context("making the bridge and its links")?;
        for node in 1..=nodes {
            let address = names::address(10, number, node);
            let script = format!("addr add {address}/24 dev eth0\nlink set eth0 up\nlink set lo up\n");
            shell::feed("ip", &["-n", &names::namespace(number, node), "-batch", "-"], &script)?;
            made.filter(node, &format!(":{CHAIN} - [0:0]\n-A INPUT -j {CHAIN}\n-A OUTPUT -j {CHAIN}\n"))?;
        }
        Ok(made)
    }

    pub(super) fn cut(&self, cuts: &[Cut]) -> Result<()> {
        for node in 1..=self.nodes {
            let mut rules = format!(":{CHAIN} - [0:0]\n");
            for (from, _) in cuts.iter().filter(|(_, to)| *to == node) {
                let _ = writeln!(rules, "-A {CHAIN} -s {} -j DROP", self.address(*from));
            }
            self.filter(node, &rules)?;
        }
        Ok(())
    }

    /// What a node sends is dropped where it leaves, so that not even what its kernel sends again arrives.
    pub(super) fn silence(&self, node: u64) -> Result<()> {
        let own = self.address(Peer::Node(node));
        let itself = format!("-A {CHAIN} -s {own} -d {own} -j ACCEPT");
        self.filter(node, &format!(":{CHAIN} - [0:0]\n{itself}\n-A {CHAIN} -j DROP\n"))
    }

    pub(super) fn dropped(&self) -> Result<Vec<(u64, u64)>> {
        let count = |node| {
            let file = names::namespace_file(self.number, node);
            let listed = shell::feed_within(&file, "iptables", &["-w", "-nvxL", CHAIN], "")?;
            let packets = listed.lines().filter(|line| line.contains(" DROP "));
            let packets = packets.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            Ok((node, packets.sum()))
        };
        (1..=self.nodes).map(count).collect()
    }

    /// Declaring the chain anew empties it, and the whole input takes effect at once.
    fn filter(&self, node: u64, rules: &str) -> Result<()> {
        let file = names::namespace_file(self.number, node);
        let input = format!("*filter\n{rules}COMMIT\n");
        shell::feed_within(&file, "iptables-restore", &["-w", "-n"], &input).map(drop)
    }

    fn address(&self, peer: Peer) -> std::net::Ipv4Addr {
        let last = match peer {
            Peer::Node(node) => node,
            Peer::Clients => names::CLIENTS,
        };
        names::address(10, self.number, last)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        sweep::remove_network(self.number);
    }
}
