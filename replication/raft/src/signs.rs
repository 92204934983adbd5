//! Signs of life of the other nodes: when each was last heard of, and whether its streams are still open.
//!
//! A node that was heard of once is lost when its last stream here has ended, or when it has been silent for too
//! long. Whoever leads something says something several times in that time, if only that it lives. Being lost
//! decides nothing: it only lets a node stand for election early, and voters that hear a leader still refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_model::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What was seen of every node that was ever heard of.
pub struct Signs {
    silence_max: Duration,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    hung_up: Notify,
}

struct Peer {
    heard: Instant,
    streams: usize,
    /// Its last stream has ended and it was not heard of since.
    hung_up: bool,
}

impl Peer {
    fn is_lost(&self, silence_max: Duration) -> bool {
        self.hung_up || self.heard.elapsed() >= silence_max
    }
}

/// A stream on which a node speaks, while it is open.
pub(crate) struct OpenStream {
    signs: Arc<Signs>,
    node: NodeId,
}

impl Signs {
    /// Nobody was heard of yet. A node that is silent for `silence_max` is lost.
    pub fn new(silence_max: Duration) -> Arc<Self> {
        Arc::new(Self { silence_max, peers: Mutex::default(), hung_up: Notify::new() })
    }

    /// A node said something.
    pub fn heard(&self, node: NodeId) {
        let mut peers = self.peers.lock();
        let heard = Instant::now();
        let peer = peers.entry(node).or_insert(Peer { heard, streams: 0, hung_up: false });
        (peer.heard, peer.hung_up) = (heard, false);
    }

    /// A node opened a stream; it ends when what is returned is dropped.
    pub(crate) fn opened(self: &Arc<Self>, node: NodeId) -> OpenStream {
        self.heard(node);
        if let Some(peer) = self.peers.lock().get_mut(&node) {
            peer.streams += 1;
        }
        OpenStream { signs: Arc::clone(self), node }
    }

    /// Whether a node was heard of once and is lost now.
    pub fn is_lost(&self, node: NodeId) -> bool {
        self.peers.lock().get(&node).is_some_and(|peer| peer.is_lost(self.silence_max))
    }

    /// Whether a node has streams here that last, or lasted, and said something within `silence`.
    pub fn is_there(&self, node: NodeId, silence: Duration) -> bool {
        self.peers.lock().get(&node).is_some_and(|peer| !peer.is_lost(silence))
    }

    /// When a node that has not hung up was last heard of.
    pub fn heard_at(&self, node: NodeId) -> Option<Instant> {
        self.peers.lock().get(&node).filter(|peer| !peer.hung_up).map(|peer| peer.heard)
    }

    /// All nodes that are lost.
    pub fn lost(&self) -> BTreeSet<NodeId> {
        let peers = self.peers.lock();
        peers.iter().filter(|(_, peer)| peer.is_lost(self.silence_max)).map(|(node, _)| *node).collect()
    }

    /// Waits until some node hangs up. Cancel safe.
    pub(crate) async fn somebody_hung_up(&self) {
        self.hung_up.notified().await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(peer) = self.signs.peers.lock().get_mut(&self.node) {
            peer.streams -= 1;
            peer.hung_up |= peer.streams == 0;
        }
        self.signs.hung_up.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);
    const SILENCE: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn a_node_that_falls_silent_is_lost_and_one_word_brings_it_back() {
        let signs = Signs::new(SILENCE);
        signs.heard(PEER);
        tokio::time::advance(SILENCE - Duration::from_millis(1)).await;
        assert!(!signs.is_lost(PEER));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(signs.is_lost(PEER));
        signs.heard(PEER);
        assert!(!signs.is_lost(PEER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_lost_when_its_last_stream_ends_and_not_before() {
        let signs = Signs::new(SILENCE);
        let (bulk, urgent) = (signs.opened(PEER), signs.opened(PEER));
        drop(bulk);
        assert!(!signs.is_lost(PEER));
        drop(urgent);
        signs.somebody_hung_up().await;
        assert_eq!(signs.lost(), BTreeSet::from([PEER]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_never_heard_of_is_not_lost() {
        let signs = Signs::new(SILENCE);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!signs.is_lost(PEER) && signs.lost().is_empty());
    }
}
