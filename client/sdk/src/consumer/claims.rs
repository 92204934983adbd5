//! What the application has said about messages and the node has not been told yet. What is said while a request of
//! the same kind about the same partition is on its way becomes one request.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use tokio::time::Instant;

use super::fate::Waiter;
use super::hold::{Epochs, Slot};

/// Messages that one request names at most: nodes take no more ranges in one.
pub(super) const NAMED_MAX: usize = 4_096;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Ack,
    Nack,
    Extend,
}

/// What can be said in one request: about one partition, under one set of epochs.
pub(super) type Topic = (Slot, Epochs, Verb);

/// One message that something is said about.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) offset: u64,
    /// 0: it was not delayed.
    pub(super) deliver_at_ms: u64,
    pub(super) waiter: Waiter,
}

#[derive(Debug, Default)]
struct Lane {
    /// To be said by themselves, in this order: what was refused together, or lost.
    parts: VecDeque<Vec<Claim>>,
    open: Vec<Claim>,
    /// A request is on its way.
    busy: bool,
    not_before: Option<Instant>,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.open.is_empty()
    }

    fn take(&mut self) -> Vec<Claim> {
        if let Some(part) = self.parts.pop_front() {
            return part;
        }
        let left = if self.open.len() > NAMED_MAX { self.open.split_off(NAMED_MAX) } else { Vec::new() };
        std::mem::replace(&mut self.open, left)
    }
}

/// Everything that waits to be said.
#[derive(Debug, Default)]
pub(super) struct Claims {
    lanes: BTreeMap<Topic, Lane>,
    /// Where the last request was taken from: the next one comes from behind it.
    last: Option<Topic>,
    count: usize,
}

impl Claims {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The application says something.
    pub(super) fn add(&mut self, topic: Topic, claim: Claim) {
        self.lanes.entry(topic).or_default().open.push(claim);
        self.count += 1;
    }

    /// What to say next, in order of offsets; its lane is busy until [`Claims::free`]. `says`: whether a partition can
    /// be spoken to.
    pub(super) fn next(&mut self, now: Instant, says: impl Fn(Slot) -> bool) -> Option<(Topic, Vec<Claim>)> {
        let ready = |topic: &Topic, lane: &Lane| {
            !lane.busy && !lane.is_empty() && lane.not_before.is_none_or(|at| at <= now) && says(topic.0)
        };
        let begin = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.lanes.range((begin, Bound::Unbounded)).find(|(topic, lane)| ready(topic, lane));
        let found = behind.or_else(|| self.lanes.iter().find(|(topic, lane)| ready(topic, lane)));
        let topic = *found?.0;
        let lane = self.lanes.get_mut(&topic)?;
        (lane.busy, lane.not_before) = (true, None);
        let mut claims = lane.take();
        claims.sort_by_key(|claim| claim.offset);
        self.count -= claims.len();
        self.last = Some(topic);
        Some((topic, claims))
    }

    /// The request was answered, or is lost.
    pub(super) fn free(&mut self, topic: Topic) {
        if let Some(lane) = self.lanes.get_mut(&topic) {
            lane.busy = false;
            if lane.is_empty() {
                self.lanes.remove(&topic);
            }
        }
    }

    /// To be said once more, as it was, before anything else of its kind.
    pub(super) fn again(&mut self, topic: Topic, claims: Vec<Claim>, not_before: Option<Instant>) {
        self.count += claims.len();
        let lane = self.lanes.entry(topic).or_default();
        lane.not_before = not_before;
        lane.parts.push_front(claims);
    }

    /// Refused together: to be said in two parts.
    pub(super) fn split(&mut self, topic: Topic, mut claims: Vec<Claim>) {
        let behind = claims.split_off(claims.len() / 2);
        self.again(topic, behind, None);
        self.again(topic, claims, None);
    }

    /// Nothing can be said about a partition any more: what waited.
    pub(super) fn give_up(&mut self, slot: Slot) -> Vec<Claim> {
        let mut gone = Vec::new();
        for (_, lane) in self.lanes.iter_mut().filter(|((of, ..), _)| *of == slot) {
            gone.extend(lane.parts.drain(..).flatten());
            gone.append(&mut lane.open);
        }
        self.lanes.retain(|_, lane| lane.busy || !lane.is_empty());
        self.count -= gone.len();
        gone
    }

    /// When something that was put off is to be said.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let put_off = self.lanes.values().filter(|lane| !lane.busy).filter_map(|lane| lane.not_before);
        put_off.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ACK: Topic = (Slot(1), Epochs { dispatch: 5, owner: 0, seek: 0 }, Verb::Ack);

    fn claim(offset: u64) -> Claim {
        Claim { offset, deliver_at_ms: 0, waiter: Waiter::nobody() }
    }

    fn said(claims: &mut Claims) -> Option<(Topic, Vec<u64>)> {
        let (topic, said) = claims.next(Instant::now(), |_| true)?;
        Some((topic, said.into_iter().map(|claim| claim.offset).collect()))
    }

    #[tokio::test]
    async fn what_is_said_while_a_request_is_on_its_way_becomes_one_request() {
        let mut claims = Claims::default();
        claims.add(ACK, claim(7));
        assert_eq!(said(&mut claims), Some((ACK, vec![7])));
        for offset in [10, 9, 8] {
            claims.add(ACK, claim(offset));
        }
        assert_eq!((said(&mut claims), claims.len()), (None, 3));
        claims.free(ACK);
        assert_eq!(said(&mut claims), Some((ACK, vec![8, 9, 10])));
        claims.free(ACK);
        assert!(claims.lanes.is_empty(), "nothing is kept of what is over");
    }

    #[tokio::test]
    async fn partitions_take_turns_and_those_that_are_away_wait() {
        let mut claims = Claims::default();
        let other = (Slot(2), ACK.1, Verb::Ack);
        for offset in 0..NAMED_MAX as u64 + 1 {
            claims.add(ACK, claim(offset));
        }
        claims.add(other, claim(1));
        let (topic, first) = claims.next(Instant::now(), |slot| slot != Slot(2)).expect("something");
        assert_eq!((topic, first.len()), (ACK, NAMED_MAX));
        claims.free(ACK);
        assert_eq!(said(&mut claims).map(|(topic, _)| topic), Some(other));
        assert_eq!(said(&mut claims), Some((ACK, vec![NAMED_MAX as u64])));
    }

    #[tokio::test]
    async fn what_is_refused_together_is_said_in_ever_smaller_parts() {
        let mut claims = Claims::default();
        (0..5).for_each(|offset| claims.add(ACK, claim(offset)));
        let mut alone = Vec::new();
        while let Some((topic, said)) = claims.next(Instant::now(), |_| true) {
            claims.free(topic);
            match said.len() {
                1 => alone.push(said[0].offset),
                _ => claims.split(topic, said),
            }
        }
        assert_eq!((alone, claims.len()), (vec![0, 1, 2, 3, 4], 0));
    }

    #[tokio::test]
    async fn what_is_put_off_is_said_later_and_what_is_given_up_never() {
        let mut claims = Claims::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        claims.again(ACK, vec![claim(3)], Some(later));
        claims.add(ACK, claim(4));
        assert_eq!((said(&mut claims), claims.next_due(now)), (None, Some(later)));
        let (_, first) = claims.next(later, |_| true).expect("its time has come");
        assert_eq!(first.iter().map(|claim| claim.offset).collect::<Vec<_>>(), [3]);
        assert_eq!(claims.give_up(Slot(1)).len(), 1);
        claims.free(ACK);
        assert_eq!((said(&mut claims), claims.len()), (None, 0));
    }
}
