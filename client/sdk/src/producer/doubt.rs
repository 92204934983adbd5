//! A node that leaves batches unanswered and says nothing at all: whether its partitions have another leader by now.
//!
//! Where packets vanish no connection breaks. Giving a slow node up costs more than waiting for it, so silence only
//! makes the client ask the other nodes; partitions move when these name another leader, and not before.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Error;
use crate::client::Shared;
use crate::metadata::TopicRoute;

/// How long a node may be silent while batches wait for its answer before others are asked.
const DOUBT_AFTER: Duration = Duration::from_millis(600);
/// The pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(500);

type Asked = Option<Result<Arc<TopicRoute>, Error>>;

/// A question under way, and since when the node was silent when it was asked.
struct Asking {
    quiet_since: Instant,
    answer: JoinHandle<Asked>,
}

/// The doubt about one node.
pub(super) struct Doubt {
    shared: Arc<Shared>,
    topic: String,
    address: String,
    /// A task of its own: partitions wait for each other's question, so it must go on when nobody looks.
    asking: Option<Asking>,
    asked: Option<Instant>,
}

impl Doubt {
    pub(super) fn new(shared: Arc<Shared>, topic: String, address: String) -> Self {
        Self { shared, topic, address, asking: None, asked: None }
    }

    /// The address that is doubted.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What others say of the topic, once the node has been silent since `quiet_since` for too long. Cancel safe.
    pub(super) async fn others_say(&mut self, quiet_since: Instant) -> Arc<TopicRoute> {
        loop {
            // The node may have spoken since an answer was asked for: then that one is old.
            if let Some(asking) = self.asking.as_mut().filter(|asking| asking.quiet_since == quiet_since) {
                let answer = (&mut asking.answer).await;
                (self.asking, self.asked) = (None, Some(Instant::now()));
                if let Ok(Some(Ok(route))) = answer {
                    return route;
                }
            }
            let again = self.asked.map_or(quiet_since, |asked| asked + ASK_EVERY);
            tokio::time::sleep_until(again.max(quiet_since + DOUBT_AFTER)).await;
            self.suspect();
            let (shared, topic) = (Arc::clone(&self.shared), self.topic.clone());
            let answer = tokio::spawn(async move {
                tokio::time::timeout(ANSWER_MAX, shared.lookup_again(&topic)).await.ok()
            });
            self.asking = Some(Asking { quiet_since, answer });
        }
    }

    /// The node does not answer: others are asked first for a while.
    pub(super) fn suspect(&self) {
        self.shared.channels.suspect(&self.address);
    }
}
