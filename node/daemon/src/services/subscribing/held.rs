//! What a consumer holds of one partition, and what it asked about it: so that it keeps both when a leader changes.

use std::collections::BTreeMap;

use meridian_model::{Offset, OffsetRange, OffsetRanges};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::{DeliveryEpochs, subscribe_response::Response};

/// Requests that may wait for an answer.
const WAITING_MAX: usize = 10_000;

/// What a request would settle.
enum Settles {
    Nothing,
    Ranges(Vec<OffsetRange>),
    Below(Offset),
}

/// The part of a consumer in one partition.
#[derive(Default)]
pub(super) struct Held {
    messages: OffsetRanges,
    seek_epoch: u64,
    waiting: BTreeMap<u64, Settles>,
}

fn range(from: u64, to: u64) -> OffsetRange {
    OffsetRange::new(Offset(from), Offset(to))
}

impl Held {
    /// What is held, and under which seek epoch it was delivered.
    pub(super) fn messages(&self) -> (Vec<OffsetRange>, u64) {
        (self.messages.iter().collect(), self.seek_epoch)
    }

    /// What the consumer says that it holds from before.
    pub(super) fn from_before(ranges: impl Iterator<Item = OffsetRange>, seek_epoch: u64) -> Self {
        let mut held = Self { seek_epoch, ..Self::default() };
        ranges.for_each(|range| drop(held.messages.insert(range)));
        held
    }

    /// The consumer asks something. `false`: too much waits for an answer, and it is not to be passed on.
    pub(super) fn ask(&mut self, request: &Request) -> bool {
        let (number, settles) = match request {
            Request::Ack(ack) => match ack.cumulative {
                Some(below) => (ack.request, Settles::Below(Offset(below))),
                None => {
                    let ranges = ack.ranges.iter().filter(|r| r.from < r.to).map(|r| range(r.from, r.to));
                    (ack.request, Settles::Ranges(ranges.collect()))
                }
            },
            Request::Nack(nack) => {
                let one = |offset: &u64| range(*offset, offset.saturating_add(1));
                (nack.request, Settles::Ranges(nack.offsets.iter().map(one).collect()))
            }
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
                for message in frame.messages.iter().filter_map(|delivered| delivered.message.as_ref()) {
                    self.messages.insert(range(message.offset, message.offset + 1));
                }
            }
            Response::Batches(frame) => {
                self.delivered_under(frame.epochs);
                for delivered in &frame.ranges {
                    self.messages.insert(range(delivered.from, delivered.to));
                }
            }
            Response::Confirmed(frame) => {
                frame.requests.iter().for_each(|request| self.confirmed(*request));
            }
            Response::Refused(frame) => drop(self.waiting.remove(&frame.request)),
            Response::Revoked(frame) => {
                for offset in &frame.offsets {
                    self.messages.remove(range(*offset, offset + 1));
                }
            }
            _ => {}
        }
    }

    /// The partition will answer no more: what still waits for an answer.
    pub(super) fn unanswered(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    fn delivered_under(&mut self, epochs: Option<DeliveryEpochs>) {
        let seek = epochs.unwrap_or_default().seek;
        if seek != self.seek_epoch {
            self.messages = OffsetRanges::new();
            self.seek_epoch = seek;
        }
    }

    fn confirmed(&mut self, request: u64) {
        match self.waiting.remove(&request) {
            Some(Settles::Ranges(ranges)) => ranges.into_iter().for_each(|r| drop(self.messages.remove(r))),
            Some(Settles::Below(below)) => drop(self.messages.remove(OffsetRange::new(Offset(0), below))),
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

    fn delivered(from: u64, to: u64, seek: u64) -> Response {
        Response::Batches(DeliveredBatches {
            epochs: Some(DeliveryEpochs { seek, ..DeliveryEpochs::default() }),
            ranges: vec![meridian_proto::v1::OffsetRange { from, to }],
            ..DeliveredBatches::default()
        })
    }

    fn ack(request: u64, from: u64, to: u64) -> Request {
        let ranges = vec![meridian_proto::v1::OffsetRange { from, to }];
        Request::Ack(SubscribeAck { request, ranges, ..SubscribeAck::default() })
    }

    #[test]
    fn what_was_confirmed_is_held_no_longer() {
        let mut held = Held::default();
        held.hear(&delivered(0, 10, 1));
        assert!(held.ask(&ack(7, 2, 4)));
        assert_eq!(held.messages(), (vec![range(0, 10)], 1), "nobody has confirmed it");
        held.hear(&Response::Confirmed(SubscribeConfirmed { requests: vec![7] }));
        assert_eq!(held.messages(), (vec![range(0, 2), range(4, 10)], 1));
        let nack = SubscribeNack { request: 8, offsets: vec![0], ..SubscribeNack::default() };
        assert!(held.ask(&Request::Nack(nack)));
        held.hear(&Response::Refused(SubscribeRefused { request: 8, failure: None }));
        assert_eq!(held.unanswered(), [], "refused is answered");
        let below = SubscribeAck { request: 9, cumulative: Some(6), ..SubscribeAck::default() };
        assert!(held.ask(&Request::Ack(below)));
        held.hear(&Response::Confirmed(SubscribeConfirmed { requests: vec![9] }));
        assert_eq!(held.messages(), (vec![range(6, 10)], 1));
    }

    #[test]
    fn what_was_delivered_before_a_seek_is_not_held() {
        let mut held = Held::default();
        held.hear(&delivered(0, 10, 1));
        held.hear(&delivered(3, 5, 2));
        assert_eq!(held.messages(), (vec![range(3, 5)], 2));
        assert!(held.ask(&ack(1, 3, 4)));
        assert_eq!(held.unanswered(), [1]);
        assert_eq!(held.unanswered(), []);
    }
}
