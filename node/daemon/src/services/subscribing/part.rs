//! A consumer's part in one partition: one try to find its leader, and what goes to and fro as long as that lasts.

use std::sync::Arc;

use meridian_dispatch::Room;
use meridian_model::TopicName;
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_publish::Leader;
use meridian_raft::network::Links;
use tokio::sync::mpsc;

use super::way::{Wanted, Way};
use crate::routes::Routing;

/// What a part hears from its consumer's task.
pub(super) enum ToPart {
    Say(Box<Request>),
    /// The consumer leaves for good. Without it, it is lost, and what it holds waits for it.
    Leave,
}

/// What a consumer's task hears from a part.
pub(super) enum FromPart {
    Attached(mpsc::UnboundedSender<ToPart>),
    Said(Box<Response>),
    /// Not there, or not any more: to be tried again.
    Ended,
}

/// Of which partition, and which try.
pub(super) struct Heard {
    pub(super) source: u32,
    pub(super) life: u64,
    pub(super) what: FromPart,
}

/// What a part needs of its node.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) routing: Arc<Routing>,
    pub(crate) room: Arc<Room>,
    pub(crate) links: Arc<Links>,
}

pub(super) struct Part {
    pub(super) ways: Ways,
    pub(super) topic: TopicName,
    pub(super) partition: u32,
    pub(super) wanted: Wanted,
    pub(super) life: u64,
    pub(super) heard: mpsc::Sender<Heard>,
}

impl Part {
    /// Runs until the leader is not there, or not the leader any more, or the consumer has gone.
    pub(super) async fn run(self) {
        if let Some(way) = self.find().await {
            // Bounded by what a consumer may ask without an answer: its task must never wait for one partition.
            let (requests, asked) = mpsc::unbounded_channel();
            if self.tell(FromPart::Attached(requests)).await {
                self.relay(way, asked).await;
            }
        }
        self.tell(FromPart::Ended).await;
    }

    async fn tell(&self, what: FromPart) -> bool {
        self.heard.send(Heard { source: self.wanted.source, life: self.life, what }).await.is_ok()
    }

    async fn find(&self) -> Option<Way> {
        let Ways { routing, room, links } = &self.ways;
        let placement = routing.placement(&self.topic, self.partition).ok()?;
        match routing.leader_of(&placement) {
            Leader::Here => Some(Way::here(room, self.wanted.clone())),
            Leader::Elsewhere(node) => {
                let way = Way::there(links, node, &self.wanted).await;
                if way.is_none() {
                    routing.failed(placement.group, node);
                }
                way
            }
            Leader::Unknown => None,
        }
    }

    async fn relay(&self, mut way: Way, mut asked: mpsc::UnboundedReceiver<ToPart>) {
        let mut answered = false;
        loop {
            tokio::select! {
                answer = way.answer() => match answer {
                    Some(answer) => {
                        answered = true;
                        if !self.tell(FromPart::Said(Box::new(answer))).await {
                            return;
                        }
                    }
                    None => break,
                },
                request = asked.recv() => match request {
                    Some(ToPart::Say(request)) => if !way.say(*request).await {
                        break;
                    },
                    Some(ToPart::Leave) => return way.leave().await,
                    None => return,
                },
            }
        }
        if !answered && let Way::There(node, ..) = &way {
            // It ended at once: that node does not lead, most likely.
            self.ways.routing.failed(self.wanted.group, *node);
        }
    }
}
