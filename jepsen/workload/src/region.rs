//! The port through which clients reach a region: real sockets in one room, a simulated network in another.

use std::sync::Arc;

use meridian_sdk::{Client, ConnectError, Error};
use tonic::transport::Channel;

use crate::chance::Chance;

/// A region as clients see it. Nodes are called by their numbers.
pub trait Region {
    /// All that are its nodes now, by number.
    fn nodes(&self) -> Vec<u64>;

    /// What histories call a node.
    fn name(&self, node: u64) -> String;

    /// A connection to one node, made when it is first used.
    ///
    /// # Errors
    /// If there is no such node.
    fn channel(&self, node: u64) -> Result<Channel, ConnectError>;

    /// The connection brought no answer: the next call may make a new one.
    fn forget(&self, _node: u64) {}

    /// A client as applications have it, with connections of its own.
    ///
    /// # Errors
    /// Only for a malformed address.
    fn client(&self, seed: u64) -> Result<Client, Error>;

    /// One of the nodes.
    fn any_node(&self, chance: &mut Chance) -> u64 {
        chance.pick(&self.nodes())
    }
}

impl<R: Region + ?Sized> Region for Arc<R> {
    fn nodes(&self) -> Vec<u64> {
        (**self).nodes()
    }

    fn name(&self, node: u64) -> String {
        (**self).name(node)
    }

    fn channel(&self, node: u64) -> Result<Channel, ConnectError> {
        (**self).channel(node)
    }

    fn forget(&self, node: u64) {
        (**self).forget(node);
    }

    fn client(&self, seed: u64) -> Result<Client, Error> {
        (**self).client(seed)
    }
}
