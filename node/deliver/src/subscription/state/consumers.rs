//! The consumers that are here, and what each may still be given.

use std::collections::BTreeMap;

use meridian_model::{ConsumerId, UnixMs};

use super::Credit;

/// One stay of a consumer. Never given twice, so that what is left of an earlier stay hits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::subscription) struct Seat(pub(in crate::subscription) u64);

/// A consumer.
#[derive(Clone, Debug)]
pub(in crate::subscription) struct Consumer {
    pub(in crate::subscription) id: ConsumerId,
    pub(in crate::subscription) priority: u32,
    pub(in crate::subscription) credit: Credit,
    /// Messages it holds.
    pub(in crate::subscription) held: usize,
    /// Counts its streams: what was asked on an earlier one is not answered on this one.
    pub(in crate::subscription) stream: u64,
    /// Its requests that wait for a commit.
    pub(in crate::subscription) unconfirmed: usize,
    pub(in crate::subscription) draining: bool,
    /// Its stream broke; until then it may come back.
    pub(in crate::subscription) lost_until: Option<UnixMs>,
    pub(in crate::subscription) heard_at: UnixMs,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Consumers {
    seats: BTreeMap<Seat, Consumer>,
    by_id: BTreeMap<ConsumerId, Seat>,
    last: u64,
}

impl Consumer {
    /// Whether another message may be delivered to it.
    pub(in crate::subscription) fn has_room(&self, held_max: usize) -> bool {
        let bounded = planted!(UnackedUnbounded) || self.held < held_max;
        bounded && self.credit.is_left() && !self.draining && self.lost_until.is_none()
    }

    /// Its stream is gone, and with it what was granted and asked there.
    pub(in crate::subscription) fn hang_up(&mut self) {
        self.stream += 1;
        self.unconfirmed = 0;
        self.credit = Credit::default();
    }

    /// Whether it may be given messages once there is room.
    pub(in crate::subscription) fn is_open(&self) -> bool {
        !self.draining && self.lost_until.is_none()
    }
}

impl Consumers {
    pub(in crate::subscription) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(in crate::subscription) fn add(&mut self, id: ConsumerId, priority: u32, now: UnixMs) -> Seat {
        self.last += 1;
        let (seat, credit) = (Seat(self.last), Credit::default());
        let consumer = Consumer {
            id,
            priority,
            credit,
            held: 0,
            stream: 0,
            unconfirmed: 0,
            draining: false,
            lost_until: None,
            heard_at: now,
        };
        self.seats.insert(seat, consumer);
        self.by_id.insert(id, seat);
        seat
    }

    pub(in crate::subscription) fn remove(&mut self, seat: Seat) -> Option<Consumer> {
        let consumer = self.seats.remove(&seat)?;
        self.by_id.remove(&consumer.id);
        Some(consumer)
    }

    pub(in crate::subscription) fn seat_of(&self, id: ConsumerId) -> Option<Seat> {
        self.by_id.get(&id).copied()
    }

    pub(in crate::subscription) fn get(&self, seat: Seat) -> Option<&Consumer> {
        self.seats.get(&seat)
    }

    pub(in crate::subscription) fn get_mut(&mut self, seat: Seat) -> Option<&mut Consumer> {
        self.seats.get_mut(&seat)
    }

    pub(in crate::subscription) fn iter(&self) -> impl Iterator<Item = (Seat, &Consumer)> {
        self.seats.iter().map(|(seat, consumer)| (*seat, consumer))
    }

    /// Counts a message that it holds no longer.
    pub(in crate::subscription) fn let_go(&mut self, seat: Seat) {
        if let Some(consumer) = self.seats.get_mut(&seat) {
            consumer.held = consumer.held.saturating_sub(1);
        }
    }
}
