//! Where everything lies: one file per key family. Keys are big-endian, so that their order is the order
//! of what they name; every key begins with its group.

pub mod entry;
pub mod index;
pub mod log;
pub mod meta;
pub mod state;

/// The key of a row does not have the shape of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key or row of the {0} family is malformed")]
pub struct Malformed(pub &'static str);

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}
