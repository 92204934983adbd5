//! The lanes to every other node, made when first needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_model::limits::RPC_BYTES_MAX;
use meridian_model::{ClusterId, NodeId};
use meridian_proto::internal::Hello;
use meridian_proto::internal::peer_service_client::PeerServiceClient;
use parking_lot::{Mutex, RwLock};
use tonic::transport::Channel;

use super::lane::{Lane, LaneKind};
use super::pace::Pace;
use super::{Dial, PROTOCOL_VERSION};
use crate::clock_book::{ClockBook, DiskState};
use crate::signs::Signs;

/// Where the nodes' raft listeners are, and which cluster this is.
#[derive(Default)]
pub struct AddressBook {
    addresses: RwLock<BTreeMap<NodeId, String>>,
    cluster: RwLock<ClusterId>,
    fenced: RwLock<BTreeSet<NodeId>>,
}

impl AddressBook {
    /// Notes a node's address. A changed one is used from the next connection on.
    pub fn set(&self, node: NodeId, address: &str) {
        self.addresses.write().insert(node, address.to_string());
    }

    /// The address of a node's raft listener.
    pub fn get(&self, node: NodeId) -> Option<String> {
        self.addresses.read().get(&node).cloned()
    }

    /// All nodes with an address.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.addresses.read().keys().copied().collect()
    }

    /// Notes which nodes were given up: nothing is said to them, and nothing they say is heard.
    pub fn fence(&self, nodes: BTreeSet<NodeId>) {
        *self.fenced.write() = nodes;
    }

    /// Whether a node was given up.
    pub fn is_fenced(&self, node: NodeId) -> bool {
        self.fenced.read().contains(&node)
    }

    /// Notes the cluster's id, once it is known.
    pub fn set_cluster(&self, cluster: ClusterId) {
        *self.cluster.write() = cluster;
    }

    /// The cluster's id; nil while none is formed.
    pub fn cluster(&self) -> ClusterId {
        *self.cluster.read()
    }
}

/// All lanes of a node.
pub struct Links {
    own: NodeId,
    dial: Arc<dyn Dial>,
    addresses: Arc<AddressBook>,
    clocks: Arc<ClockBook>,
    signs: Arc<Signs>,
    pace: Pace,
    lanes: Mutex<BTreeMap<(NodeId, LaneKind), Arc<Lane>>>,
    channels: Mutex<BTreeMap<NodeId, (String, Channel)>>,
}

/// Why a node cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nobody said where it is.
    #[error("no address is known for {0}")]
    NoAddress(NodeId),
    /// It was given up by an unsafe recovery, and has not come back with an empty disk.
    #[error("{0} was given up: it may come back with an empty data folder")]
    Fenced(NodeId),
    /// The address is no address.
    #[error("{0} has a malformed address: {1}")]
    Address(NodeId, String),
}

impl Links {
    /// The links of node `own`; nothing is connected yet.
    pub fn new(
        own: NodeId,
        dial: Arc<dyn Dial>,
        addresses: Arc<AddressBook>,
        clocks: Arc<ClockBook>,
        signs: Arc<Signs>,
        pace: Pace,
    ) -> Arc<Self> {
        let (lanes, channels) = (Mutex::default(), Mutex::default());
        Arc::new(Self { own, dial, addresses, clocks, signs, pace, lanes, channels })
    }

    /// The node whose links these are.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// Where the nodes are.
    pub fn addresses(&self) -> &Arc<AddressBook> {
        &self.addresses
    }

    /// The peers' clocks.
    pub fn clocks(&self) -> &Arc<ClockBook> {
        &self.clocks
    }

    /// How fast copies are made.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Which nodes live.
    pub fn signs(&self) -> &Arc<Signs> {
        &self.signs
    }

    /// A node said something: how its clock and its disk are, and that it lives.
    pub(super) fn heard(&self, node: NodeId, clock_ms: u64, disk: DiskState) {
        self.clocks.heard(node, clock_ms, disk);
        self.signs.heard(node);
    }

    pub(super) fn lane(self: &Arc<Self>, node: NodeId, kind: LaneKind) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        Arc::clone(lanes.entry((node, kind)).or_insert_with(|| Lane::spawn(Arc::downgrade(self), node, kind)))
    }

    /// The greeting that opens a stream to `node`.
    pub(super) fn hello(&self, node: NodeId) -> Hello {
        Hello {
            from_node: self.own.0,
            to_node: node.0,
            cluster_id: self.addresses.cluster().0.to_vec().into(),
            protocol_version: PROTOCOL_VERSION,
        }
    }

    fn address(&self, node: NodeId) -> Result<String, LinkError> {
        match self.addresses.is_fenced(node) {
            true => Err(LinkError::Fenced(node)),
            false => self.addresses.get(node).ok_or(LinkError::NoAddress(node)),
        }
    }

    /// A channel to the node's raft listener, for calls beside the lanes.
    pub fn channel(&self, node: NodeId) -> Result<Channel, LinkError> {
        let address = self.address(node)?;
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&node)
            && *known == address
        {
            return Ok(channel.clone());
        }
        let channel =
            self.dial.channel(node, &address).map_err(|error| LinkError::Address(node, error.to_string()))?;
        channels.insert(node, (address, channel.clone()));
        Ok(channel)
    }

    /// A client of the node's peer service with a connection of its own: lanes do not share one.
    pub(super) fn connect(&self, node: NodeId) -> Result<PeerServiceClient<Channel>, LinkError> {
        let address = self.address(node)?;
        let channel =
            self.dial.channel(node, &address).map_err(|error| LinkError::Address(node, error.to_string()))?;
        Ok(client_over(channel))
    }

    /// A client of the node's peer service over the shared channel.
    pub fn client(&self, node: NodeId) -> Result<PeerServiceClient<Channel>, LinkError> {
        Ok(client_over(self.channel(node)?))
    }
}

fn client_over(channel: Channel) -> PeerServiceClient<Channel> {
    PeerServiceClient::new(channel)
        .max_decoding_message_size(RPC_BYTES_MAX)
        .max_encoding_message_size(RPC_BYTES_MAX)
}
