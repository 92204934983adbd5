//! A host's connections to the nodes, as clients want them: raw channels, and clients of the SDK.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use meridian_sdk::{Client, ClientConfig, ConnectError, Error, default_endpoint};
use meridian_workload::Region;
use tonic::transport::Channel;

use crate::clock::SkewedClock;
use crate::net::Net;
use crate::node::client_address;
use crate::plan::{HOSTS, NODES};

/// Connections of one host. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wires {
    net: Net,
    open: Rc<RefCell<BTreeMap<u64, Channel>>>,
}

impl Wires {
    pub(super) fn new(net: Net) -> Self {
        Self { net, open: Rc::default() }
    }
}

impl Region for Wires {
    fn nodes(&self) -> Vec<u64> {
        (0..NODES).map(number).collect()
    }

    fn name(&self, node: u64) -> String {
        HOSTS[place(node)].to_owned()
    }

    fn channel(&self, node: u64) -> Result<Channel, ConnectError> {
        if let Some(channel) = self.open.borrow().get(&node) {
            return Ok(channel.clone());
        }
        let channel = self.net.lazy(&default_endpoint(&client_address(place(node)))?);
        self.open.borrow_mut().insert(node, channel.clone());
        Ok(channel)
    }

    fn forget(&self, node: u64) {
        self.open.borrow_mut().remove(&node);
    }

    fn client(&self, seed: u64) -> Result<Client, Error> {
        let config = ClientConfig::new((0..NODES).map(client_address));
        let config =
            config.with_seed(seed).with_connector(self.net.clone()).with_clock(SkewedClock::default());
        Client::new(config)
    }
}

/// The number of the node at a place in the list of hosts.
pub(super) fn number(place: usize) -> u64 {
    place as u64 + 1
}

fn place(number: u64) -> usize {
    (number.saturating_sub(1) as usize).min(NODES - 1)
}
