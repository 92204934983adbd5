//! The targets. One file, one idea; to add a target, add a file and a row to [`TARGETS`].

mod batch;
mod command;
mod config;
mod control;
mod entry;
mod keys;
mod membership;
mod partition;
mod peer;
mod request;

/// What became of an input that did no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It was taken for what it says it is.
    Understood,
    /// It was refused.
    Refused,
}

/// A decoder, and what must hold of whatever bytes it is given.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Inputs that CI gives it.
    pub inputs: u64,
    /// Good inputs, made by our own encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Panics where something does not hold.
    pub check: fn(&[u8]) -> Met,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", inputs: 150_000, seeds: batch::seeds, check: batch::check },
    Target { name: "keys", inputs: 50_000, seeds: keys::seeds, check: keys::check },
    Target { name: "entry", inputs: 100_000, seeds: entry::seeds, check: entry::check },
    Target { name: "command", inputs: 150_000, seeds: command::seeds, check: command::check },
    Target { name: "partition", inputs: 200_000, seeds: partition::seeds, check: partition::check },
    Target { name: "control", inputs: 60_000, seeds: control::seeds, check: control::check },
    Target { name: "request", inputs: 150_000, seeds: request::seeds, check: request::check },
    Target { name: "peer", inputs: 150_000, seeds: peer::seeds, check: peer::check },
    Target { name: "membership", inputs: 100_000, seeds: membership::seeds, check: membership::check },
    Target { name: "config", inputs: 400_000, seeds: config::seeds, check: config::check },
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Bytes that decoding an input of so many bytes may hold: so many for each of its own, and room for beginnings.
fn room(input: &[u8], per_byte: usize) -> usize {
    64 * 1024 + per_byte * input.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_message_has_a_seed() {
        let request = ("request", request::seeds(), request::KINDS.len());
        let peer = ("peer", peer::seeds(), peer::KINDS.len());
        for (name, seeds, kinds) in [request, peer] {
            let first = seeds.iter().filter_map(|seed| seed.first().copied());
            let seeded: BTreeSet<usize> = first.map(usize::from).collect();
            assert_eq!(seeded, (0..kinds).collect::<BTreeSet<usize>>(), "{name}");
        }
    }
}
