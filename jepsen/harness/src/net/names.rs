//! The names and addresses a run may use: all carry its number, so that a sweep finds them.

use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The last octet of the clients' address on a bridge.
pub(super) const CLIENTS: u64 = 254;

/// What every namespace of a run begins with.
pub(crate) fn prefix(number: u16) -> String {
    format!("mj{number:04x}-")
}

/// Whether a link in the namespace of the clients belongs to a run.
pub(crate) fn is_link_of(number: u16, link: &str) -> bool {
    link.starts_with(&format!("mj{number:04x}"))
}

/// The bridge of a run. Link names have at most 15 characters.
pub(super) fn bridge(number: u16) -> String {
    format!("mj{number:04x}br")
}

/// The bridge's end of a node's link.
pub(super) fn link(number: u16, node: u64) -> String {
    format!("mj{number:04x}v{node}")
}

/// The namespace of a node.
pub(super) fn namespace(number: u16, node: u64) -> String {
    format!("{}{node}", prefix(number))
}

/// The file that stands for a node's namespace.
pub(super) fn namespace_file(number: u16, node: u64) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace(number, node))
}

/// The address of a node in the run's own subnet of `net`.0.0.0/8.
pub(super) fn address(net: u8, number: u16, node: u64) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(net, high, low, u8::try_from(node).unwrap_or(u8::MAX))
}
