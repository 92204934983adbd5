//! The publish streams of one producer: at most one to each node, opened when a partition needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_proto::v1::PublishOpen;
use parking_lot::Mutex;

use super::doubt::Doubt;
use super::link::{Link, open_error};
use crate::Error;
use crate::call::is_transport;
use crate::client::Shared;

type Slot = Arc<tokio::sync::Mutex<Option<Link>>>;

/// The streams, by address and by whether the node may answer "not the leader" instead of forwarding.
pub(super) struct Links {
    shared: Arc<Shared>,
    topic: String,
    slots: Mutex<BTreeMap<(String, bool), Slot>>,
}

impl Links {
    pub(super) fn new(shared: Arc<Shared>, topic: String) -> Self {
        Self { shared, topic, slots: Mutex::default() }
    }

    /// A stream for `partition`: to its leader, or, where that is unknown or unreachable, to any node that
    /// forwards. `ask`: the cached route has proved wrong.
    pub(super) async fn towards(&self, partition: u32, ask: bool) -> Result<Link, Error> {
        let route = match ask {
            true => self.shared.lookup_again(&self.topic).await?,
            false => self.shared.route(&self.topic).await?,
        };
        let leader =
            route.leader_address(partition).filter(|address| !self.shared.channels.is_suspect(address));
        match leader {
            Some(address) => self.to(address.to_string(), true).await,
            None => self.to(self.shared.channels.anyone(), false).await,
        }
    }

    async fn to(&self, address: String, accept_redirect: bool) -> Result<Link, Error> {
        let slot = self.slots.lock().entry((address.clone(), accept_redirect)).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        if accept_redirect && self.shared.channels.is_suspect(&address) {
            // Somebody has just tried in vain, while this partition waited for the same stream.
            let why = "no publish stream could be opened just now".to_string();
            return Err(Error::Connect { addresses: vec![address], why });
        }
        let channel = self.shared.channels.get(&address).await?;
        let open = PublishOpen { topic: self.topic.clone(), accept_redirect };
        let patience = self.shared.config.attempt_timeout;
        let doubt = Doubt::new(Arc::clone(&self.shared), self.topic.clone(), address.clone());
        let link = Link::open(channel, doubt, open, patience).await.map_err(|status| {
            if is_transport(&status) {
                self.shared.channels.suspect(&address);
            }
            open_error(&status)
        })?;
        *slot = Some(link.clone());
        Ok(link)
    }
}
