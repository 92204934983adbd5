//! The partitions of this node that are dispatched from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meridian_commitlog::{Cursors, ReadCommitted};
use meridian_deliver::subscription::DispatchBounds;
use meridian_model::{Clock, GroupId, LogId, SubscriptionId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::attached::{ANSWERS, Arrival, Attach, Attached, Seat};
use crate::pages::PageBudget;
use crate::partition::Partition;

/// What consumers said that may wait for a partition.
const ARRIVALS: usize = 4_096;

/// Knows where dead letters go.
pub trait Letterbox: Send + Sync + 'static {
    /// The history of the partition that takes the dead letters of a subscription in a partition. `None`: there is
    /// none, or it is not known yet.
    fn destination(&self, group: GroupId, subscription: SubscriptionId) -> Option<LogId>;
}

/// What the partitions share.
pub struct Room {
    pub(crate) log: Arc<dyn ReadCommitted>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) letterbox: Arc<dyn Letterbox>,
    pub(crate) bounds: DispatchBounds,
    pub(crate) budget: Arc<PageBudget>,
    pub(crate) partitions: Mutex<BTreeMap<GroupId, mpsc::Sender<Arrival>>>,
    seats: AtomicU64,
}

impl Room {
    /// A room in which nobody is served yet.
    pub fn new(
        log: Arc<dyn ReadCommitted>,
        cursors: Arc<dyn Cursors>,
        clock: Arc<dyn Clock>,
        letterbox: Arc<dyn Letterbox>,
        bounds: DispatchBounds,
        budget: PageBudget,
    ) -> Arc<Self> {
        let (budget, partitions, seats) = (Arc::new(budget), Mutex::default(), AtomicU64::new(1));
        Arc::new(Self { log, cursors, clock, letterbox, bounds, budget, partitions, seats })
    }

    /// Lets a consumer take part in a partition that this node leads. Where it does not, or not any more, the
    /// answers end. An earlier part of the same consumer ends, too.
    pub fn attach(self: &Arc<Self>, attach: Attach) -> Attached {
        let number = self.seats.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { subscription: attach.subscription, consumer: attach.join.consumer, number };
        let group = attach.group;
        let (to_consumer, answers) = mpsc::channel(ANSWERS);
        let mut arrival = Arrival::Attach { seat, attach: Box::new(attach), answers: to_consumer };
        let mut partitions = self.partitions.lock();
        loop {
            let arrivals = partitions.entry(group).or_insert_with(|| self.serve(group)).clone();
            arrival = match arrivals.try_send(arrival) {
                // The task is about to end, and this one is the next.
                Err(mpsc::error::TrySendError::Closed(arrival)) => arrival,
                // Too busy to take anybody in: the answers end at once, and the consumer tries again.
                Err(mpsc::error::TrySendError::Full(_)) | Ok(()) => {
                    return Attached::new(seat, arrivals, answers);
                }
            };
            partitions.remove(&group);
        }
    }

    /// Partitions that are dispatched from.
    pub fn partitions(&self) -> usize {
        self.partitions.lock().len()
    }

    fn serve(self: &Arc<Self>, group: GroupId) -> mpsc::Sender<Arrival> {
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        tokio::spawn(Partition::new(Arc::clone(self), group, arriving).run());
        arrivals
    }
}
