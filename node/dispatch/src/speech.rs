//! What consumers say, in the dispatcher's words.

use meridian_deliver::subscription::{Epochs, Event, Said};
use meridian_model::ConsumerId;
use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, OffsetRange, Place, Start, UnixMs};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::{DeliveredRange, DeliveryEpochs, Failure, SubscriptionStart, subscription_start};

/// Ranges or offsets that one request may name.
const NAMED_MAX: usize = 4_096;

/// What a request means.
pub(crate) enum Meaning {
    /// An event for the dispatcher.
    Event(Event),
    /// A place has to be found first.
    Seek { request: u64, to: Start },
    /// Nothing can be made of it.
    Wrong { request: Option<u64>, failure: Failure },
}

fn epochs(epochs: Option<DeliveryEpochs>) -> Epochs {
    let DeliveryEpochs { dispatch, owner, seek } = epochs.unwrap_or_default();
    Epochs { dispatch, owner, seek }
}

fn too_many(request: u64, field: &str, named: usize) -> Option<Meaning> {
    let why = || format!("{named} are named, at most {NAMED_MAX} may be");
    (named > NAMED_MAX).then(|| wrong(request, Failure::invalid(field, why())))
}

fn wrong(request: u64, failure: Failure) -> Meaning {
    Meaning::Wrong { request: Some(request), failure }
}

/// Where a subscription is to go on; nothing said: behind the newest message.
pub(crate) fn start(to: Option<SubscriptionStart>) -> Start {
    match to.and_then(|to| to.at) {
        Some(subscription_start::At::Earliest(true)) => Start::Earliest,
        Some(subscription_start::At::TimeMs(time)) => Start::Time(UnixMs(time)),
        Some(subscription_start::At::Offset(offset)) => Start::Offset(Offset(offset)),
        Some(subscription_start::At::Latest(_) | subscription_start::At::Earliest(false)) | None => {
            Start::Latest
        }
    }
}

/// Messages that were delivered, as their deliveries named them.
fn range(range: &DeliveredRange) -> DelayedRange {
    let messages = OffsetRange::new(Offset(range.from), Offset(range.to));
    DelayedRange { deliver_at: UnixMs(range.deliver_at_ms), range: messages }
}

pub(crate) fn places(range: &DeliveredRange) -> impl Iterator<Item = Place> + use<> {
    let deliver_at = UnixMs(range.deliver_at_ms);
    (range.from..range.to).map(move |offset| Place { deliver_at, offset: Offset(offset) })
}

fn messages(ranges: &[DeliveredRange]) -> usize {
    let each = ranges.iter().map(|range| range.to.saturating_sub(range.from) as usize);
    each.fold(0, usize::saturating_add)
}

fn sound(ranges: &[DeliveredRange]) -> bool {
    !ranges.is_empty() && ranges.iter().all(|range| range.from < range.to)
}

fn nonsense() -> Failure {
    Failure::invalid("ranges", "one is empty, or none is given")
}

/// What a consumer means by a request.
pub(crate) fn understand(consumer: ConsumerId, request: Request) -> Meaning {
    let event = match request {
        Request::Open(_) => {
            let failure = Failure::invalid("open", "the stream is open already");
            return Meaning::Wrong { request: None, failure };
        }
        Request::Credit(credit) => Event::Credit { consumer, messages: credit.messages, bytes: credit.bytes },
        Request::Ack(ack) => {
            let (request, under) = (ack.request, epochs(ack.epochs));
            if let Some(wrong) = too_many(request, "ranges", ack.ranges.len()) {
                return wrong;
            }
            match ack.cumulative {
                Some(_) if !ack.ranges.is_empty() => {
                    return wrong(request, Failure::invalid("cumulative", "not together with ranges"));
                }
                Some(below) => Event::AckCumulative(Said { consumer, request, under, about: Offset(below) }),
                None => {
                    if !sound(&ack.ranges) {
                        return wrong(request, nonsense());
                    }
                    let about = ack.ranges.iter().map(range).collect();
                    Event::Ack(Said { consumer, request, under, about })
                }
            }
        }
        Request::Nack(nack) => {
            if let Some(wrong) = too_many(nack.request, "ranges", messages(&nack.ranges)) {
                return wrong;
            }
            if !sound(&nack.ranges) {
                return wrong(nack.request, nonsense());
            }
            let about = nack.ranges.iter().flat_map(places).collect();
            Event::Nack(Said { consumer, request: nack.request, under: epochs(nack.epochs), about })
        }
        Request::Extend(extend) => {
            if let Some(wrong) = too_many(extend.request, "ranges", messages(&extend.ranges)) {
                return wrong;
            }
            if !sound(&extend.ranges) {
                return wrong(extend.request, nonsense());
            }
            let about = extend.ranges.iter().flat_map(places).collect();
            Event::Extend(Said { consumer, request: extend.request, under: epochs(extend.epochs), about })
        }
        Request::Seek(seek) => return Meaning::Seek { request: seek.request, to: start(seek.to) },
        Request::Drain(_) => Event::Draining(consumer),
        Request::Heartbeat(_) => Event::Heartbeat(consumer),
    };
    Meaning::Event(event)
}
