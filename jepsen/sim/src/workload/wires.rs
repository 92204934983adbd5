//! A host's connections to the nodes: raw channels, and clients of the SDK.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use meridian_model::limits::RPC_BYTES_MAX;
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_sdk::{Client, ClientConfig, ConnectError, Error, default_endpoint};
use tonic::transport::Channel;

use crate::clock::SkewedClock;
use crate::net::Net;
use crate::node::client_address;
use crate::plan::NODES;

/// Connections of one host. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wires {
    net: Net,
    open: Rc<RefCell<BTreeMap<usize, Channel>>>,
}

impl Wires {
    pub(super) fn new(net: Net) -> Self {
        Self { net, open: Rc::default() }
    }

    fn channel(&self, node: usize) -> Result<Channel, ConnectError> {
        if let Some(channel) = self.open.borrow().get(&node) {
            return Ok(channel.clone());
        }
        let channel = self.net.lazy(&default_endpoint(&client_address(node))?);
        self.open.borrow_mut().insert(node, channel.clone());
        Ok(channel)
    }

    /// The connection brought no answer: the next call makes a new one.
    pub(super) fn forget(&self, node: usize) {
        self.open.borrow_mut().remove(&node);
    }

    pub(super) fn publisher(&self, node: usize) -> Result<PublishServiceClient<Channel>, ConnectError> {
        self.channel(node).map(PublishServiceClient::new)
    }

    pub(super) fn reader(&self, node: usize) -> Result<ReadServiceClient<Channel>, ConnectError> {
        let client = self.channel(node).map(ReadServiceClient::new)?;
        Ok(client.max_decoding_message_size(RPC_BYTES_MAX))
    }

    pub(super) fn admin(&self, node: usize) -> Result<AdminServiceClient<Channel>, ConnectError> {
        self.channel(node).map(AdminServiceClient::new)
    }

    /// A client of the SDK with connections of its own.
    pub(super) fn sdk(&self, seed: u64) -> Result<Client, Error> {
        let config = ClientConfig::new((0..NODES).map(client_address));
        let config =
            config.with_seed(seed).with_connector(self.net.clone()).with_clock(SkewedClock::default());
        Client::new(config)
    }
}
