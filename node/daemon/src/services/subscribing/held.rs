//! What a consumer holds of one partition, and what it asked about it: so that it keeps both when a leader changes.

use std::collections::BTreeMap;

use meridian_model::{Offset, OffsetRange, OffsetRanges};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{DeliveredRange, DeliveryEpochs};

/// Requests that may wait for an answer.
const WAITING_MAX: usize = 10_000;

/// What a request would settle.
enum Settles {
    Nothing,
    Ranges(Vec<DeliveredRange>),
    Below(Offset),
    /// An attempt that failed: counted twice where it is said twice.
    Attempts(Vec<DeliveredRange>),
}

/// The part of a consumer in one partition.
#[derive(Default)]
pub(super) struct Held {
    /// By the time that stood on their deliveries.
    messages: BTreeMap<u64, OffsetRanges>,
    seek_epoch: u64,
    waiting: BTreeMap<u64, Settles>,
}

fn range(range: &DeliveredRange) -> OffsetRange {
    OffsetRange::new(Offset(range.from), Offset(range.to))
}

fn sound(ranges: &[DeliveredRange]) -> Vec<DeliveredRange> {
    ranges.iter().filter(|range| range.from < range.to).copied().collect()
}

impl Held {
    /// What is held, and under which seek epoch it was delivered.
    pub(super) fn messages(&self) -> (Vec<DeliveredRange>, u64) {
        let ranges = self.messages.iter().flat_map(|(deliver_at_ms, ranges)| {
            let wire = |range: OffsetRange| DeliveredRange {
                from: range.from.0,
                to: range.to.0,
                deliver_at_ms: *deliver_at_ms,
            };
            ranges.iter().map(wire)
        });
        (ranges.collect(), self.seek_epoch)
    }

    /// What the consumer says that it holds from before.
    pub(super) fn from_before(ranges: &[DeliveredRange], seek_epoch: u64) -> Self {
        let mut held = Self { seek_epoch, ..Self::default() };
        ranges.iter().for_each(|range| held.add(range));
        held
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The consumer asks something. `false`: too much waits for an answer, and it is not to be passed on.
    pub(super) fn ask(&mut self, request: &Request) -> bool {
        let (number, settles) = match request {
            Request::Ack(ack) => match ack.cumulative {
                Some(below) => (ack.request, Settles::Below(Offset(below))),
                None => (ack.request, Settles::Ranges(sound(&ack.ranges))),
            },
            Request::Nack(nack) => (nack.request, Settles::Attempts(sound(&nack.ranges))),
            Request::Extend(extend) => (extend.request, Settles::Nothing),
            Request::Seek(seek) => (seek.request, Settles::Nothing),
            _ => return true,
        };
        let room = self.waiting.len() < WAITING_MAX;
        if room {
            self.waiting.insert(number, settles);
        }
        room
    }

    /// The partition answers, or delivers.
    pub(super) fn hear(&mut self, response: &Response) {
        match response {
            Response::Messages(frame) => {
                self.delivered_under(frame.epochs);
                for delivered in &frame.messages {
                    let offset = delivered.message.as_ref().map_or(0, |message| message.offset);
                    let deliver_at_ms = delivered.deliver_at_ms;
                    self.add(&DeliveredRange { from: offset, to: offset + 1, deliver_at_ms });
                }
            }
            Response::Batches(frame) => {
                self.delivered_under(frame.epochs);
                frame.ranges.iter().for_each(|range| self.add(range));
            }
            Response::Confirmed(frame) => {
                frame.requests.iter().for_each(|request| self.confirmed(*request));
            }
            Response::Refused(frame) => drop(self.waiting.remove(&frame.request)),
            Response::Revoked(frame) => frame.ranges.iter().for_each(|range| self.remove(range)),
            _ => {}
        }
    }

    /// The partition will answer no more: what still waits for an answer, and whether it may be said again without
    /// harm.
    pub(super) fn unanswered(&mut self) -> Vec<(u64, bool)> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting.map(|(request, settles)| (request, !matches!(settles, Settles::Attempts(_)))).collect()
    }

    fn add(&mut self, delivered: &DeliveredRange) {
        self.messages.entry(delivered.deliver_at_ms).or_default().insert(range(delivered));
    }

    fn remove(&mut self, settled: &DeliveredRange) {
        if let Some(ranges) = self.messages.get_mut(&settled.deliver_at_ms) {
            ranges.remove(range(settled));
            if ranges.is_empty() {
                self.messages.remove(&settled.deliver_at_ms);
            }
        }
    }

    fn delivered_under(&mut self, epochs: Option<DeliveryEpochs>) {
        let seek = epochs.unwrap_or_default().seek;
        if seek != self.seek_epoch {
            self.messages.clear();
            self.seek_epoch = seek;
        }
    }

    fn confirmed(&mut self, request: u64) {
        match self.waiting.remove(&request) {
            Some(Settles::Ranges(ranges) | Settles::Attempts(ranges)) => {
                ranges.iter().for_each(|range| self.remove(range))
            }
            Some(Settles::Below(below)) => {
                self.messages.retain(|_, ranges| {
                    ranges.remove(OffsetRange::new(Offset(0), below));
                    !ranges.is_empty()
                });
            }
            Some(Settles::Nothing) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::v1::{
        DeliveredBatches, SubscribeAck, SubscribeConfirmed, SubscribeNack, SubscribeRefused,
    };

    use super::*;

    fn held(from: u64, to: u64) -> DeliveredRange {
        DeliveredRange { from, to, deliver_at_ms: 0 }
    }

    fn delivered(from: u64, to: u64, seek: u64) -> Response {
        Response::Batches(DeliveredBatches {
            epochs: Some(DeliveryEpochs { seek, ..DeliveryEpochs::default() }),
            ranges: vec![held(from, to)],
            ..DeliveredBatches::default()
        })
    }

    fn ack(request: u64, from: u64, to: u64) -> Request {
        let ranges = vec![held(from, to)];
        Request::Ack(SubscribeAck { request, ranges, ..SubscribeAck::default() })
    }

    #[test]
    fn what_was_confirmed_is_held_no_longer() {
        let mut part = Held::default();
        part.hear(&delivered(0, 10, 1));
        assert!(part.ask(&ack(7, 2, 4)));
        assert_eq!(part.messages(), (vec![held(0, 10)], 1), "nobody has confirmed it");
        part.hear(&Response::Confirmed(SubscribeConfirmed { requests: vec![7] }));
        assert_eq!(part.messages(), (vec![held(0, 2), held(4, 10)], 1));
        let nack = SubscribeNack { request: 8, ranges: vec![held(0, 1)], ..SubscribeNack::default() };
        assert!(part.ask(&Request::Nack(nack)));
        part.hear(&Response::Refused(SubscribeRefused { request: 8, failure: None }));
        assert_eq!(part.unanswered(), [], "refused is answered");
        let below = SubscribeAck { request: 9, cumulative: Some(6), ..SubscribeAck::default() };
        assert!(part.ask(&Request::Ack(below)));
        part.hear(&Response::Confirmed(SubscribeConfirmed { requests: vec![9] }));
        assert_eq!(part.messages(), (vec![held(6, 10)], 1));
    }

    #[test]
    fn what_was_delivered_before_a_seek_is_not_held() {
        let mut part = Held::default();
        part.hear(&delivered(0, 10, 1));
        part.hear(&delivered(3, 5, 2));
        assert_eq!(part.messages(), (vec![held(3, 5)], 2));
        assert!(part.ask(&ack(1, 3, 4)));
        let nack = SubscribeNack { request: 2, ranges: vec![held(4, 5)], ..SubscribeNack::default() };
        assert!(part.ask(&Request::Nack(nack)));
        assert_eq!(part.unanswered(), [(1, true), (2, false)], "a nack may have counted already");
        assert_eq!(part.unanswered(), []);
    }
}
