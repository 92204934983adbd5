//! Requests of clients and operators: each message means the same when it is written and read again, in memory in
//! proportion to its bytes, and what the node makes of it is refused by name or sound: plain messages become a batch
//! that verifies and holds them, names are names, and a retention stays what it was.

mod seeds;

use std::fmt::Debug;

use meridian_model::batch::decode_messages;
use meridian_model::{Batch, TopicName, UnixMs};
use meridian_proto::admin::{self, CreateTopicRequest, UpdateTopicRequest};
use meridian_proto::requests;
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::{
    self, ErrorReason, Failure, OpenProducerRequest, PlainMessage, PlainMessages, PublishRequest,
    PublishStreamRequest, ReadRequest,
};
use prost::Message;

pub(super) use self::seeds::seeds;
use super::{Met, room};
use crate::memory;

/// What the first byte of an input chooses: a message, and what is made of it.
pub(super) const KINDS: &[fn(&[u8]) -> Met] = &[
    publish,
    publish_stream,
    open_producer,
    read,
    |bytes| topic_of::<v1::LookupTopicRequest>(bytes, |request| &request.topic),
    |bytes| topic_of::<v1::GetLogRequest>(bytes, |request| &request.topic),
    create_topic,
    update_topic,
    |bytes| topic_of::<admin::GetTopicRequest>(bytes, |request| &request.topic),
    |bytes| topic_of::<admin::AddPartitionsRequest>(bytes, |request| &request.topic),
    |bytes| topic_of::<admin::DeleteTopicRequest>(bytes, |request| &request.topic),
    plain::<admin::CreateTenantRequest>,
    plain::<admin::DeleteTenantRequest>,
    plain::<admin::ListTenantsRequest>,
    plain::<admin::CreateNamespaceRequest>,
    plain::<admin::DeleteNamespaceRequest>,
    plain::<admin::ListNamespacesRequest>,
    plain::<admin::ListTopicsRequest>,
    plain::<admin::DrainNodeRequest>,
    plain::<admin::DecommissionNodeRequest>,
    plain::<admin::GetClusterRequest>,
];

/// The input is the kind of a message, then the message.
pub(super) fn check(input: &[u8]) -> Met {
    let Some((kind, message)) = input.split_first() else { return Met::Refused };
    KINDS[usize::from(*kind) % KINDS.len()](message)
}

/// A message that decodes, and that means the same when it is written and read again.
pub(super) fn decode<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    // An element of a list may be two bytes on the wire and a struct with a map in memory.
    let message = memory::within(room(bytes, 512), || M::decode(bytes)).ok()?;
    assert_eq!(M::decode(message.encode_to_vec().as_slice()).as_ref(), Ok(&message));
    Some(message)
}

/// A message of which nothing is made here: its fields go on as they are, and the control group judges them.
pub(super) fn plain<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Met {
    decode::<M>(bytes).map_or(Met::Refused, |_| Met::Understood)
}

fn topic_of<M: Message + Default + PartialEq + Debug>(bytes: &[u8], topic: fn(&M) -> &str) -> Met {
    let Some(message) = decode::<M>(bytes) else { return Met::Refused };
    topic_name(topic(&message)).map_or(Met::Refused, |_| Met::Understood)
}

/// A name that is accepted is the same topic in every spelling; one that is not is refused by its part.
fn topic_name(name: &str) -> Option<TopicName> {
    match requests::topic_name(name) {
        Ok(topic) => {
            assert_eq!(requests::topic_name(&topic.resource()).as_ref(), Ok(&topic));
            assert_eq!(requests::topic_name(&topic.to_string()).as_ref(), Ok(&topic));
            Some(topic)
        }
        Err(refused) => {
            assert_refused(&refused, ErrorReason::InvalidArgument);
            let field = refused.metadata.get("field").map(String::as_str);
            assert!(matches!(field, Some("tenant" | "namespace" | "topic")), "{refused:?}");
            None
        }
    }
}

fn assert_refused(refused: &Failure, reason: ErrorReason) {
    assert_eq!(refused.reason(), reason, "{refused:?}");
    assert!(!refused.retryable && !refused.message.is_empty(), "{refused:?}");
    assert!(refused.message.len() < 16 * 1024, "{} bytes to say no", refused.message.len());
}

fn publish(bytes: &[u8]) -> Met {
    let Some(request) = decode::<PublishRequest>(bytes) else { return Met::Refused };
    let named = topic_name(&request.topic).is_some();
    let sound = match request.payload {
        Some(Payload::Messages(messages)) => packs(messages),
        Some(Payload::Batch(batch)) => Batch::verify(batch).is_ok(),
        None => false,
    };
    if named && sound { Met::Understood } else { Met::Refused }
}

fn packs(messages: PlainMessages) -> bool {
    let sent = messages.clone();
    let packed = match requests::pack(messages, UnixMs(7)) {
        Ok(packed) => packed,
        Err(refused) if sent.messages.is_empty() => {
            assert_refused(&refused, ErrorReason::InvalidArgument);
            return false;
        }
        Err(refused) => {
            assert_refused(&refused, ErrorReason::TooLarge);
            return false;
        }
    };
    let batch = Batch::verify(packed).expect("what the node packs verifies");
    let got = decode_messages(&batch).expect("and decodes");
    assert_eq!(got.len(), sent.messages.len());
    for (got, sent) in got.into_iter().zip(sent.messages) {
        assert_eq!(got.check(), Ok(()));
        let properties = got.properties.into_iter().collect();
        assert_eq!(PlainMessage { key: got.key, properties, body: got.body }, sent);
    }
    true
}

fn publish_stream(bytes: &[u8]) -> Met {
    use v1::publish_stream_request::Request;
    let sound = match decode::<PublishStreamRequest>(bytes).and_then(|sent| sent.request) {
        Some(Request::Open(open)) => topic_name(&open.topic).is_some(),
        Some(Request::Batch(sent)) => Batch::verify(sent.batch).is_ok(),
        None => false,
    };
    if sound { Met::Understood } else { Met::Refused }
}

fn open_producer(bytes: &[u8]) -> Met {
    let Some(request) = decode::<OpenProducerRequest>(bytes) else { return Met::Refused };
    let name = request.name.is_empty() || meridian_model::name::check("name", &request.name).is_ok();
    if topic_name(&request.topic).is_some() && name { Met::Understood } else { Met::Refused }
}

fn read(bytes: &[u8]) -> Met {
    let Some(request) = decode::<ReadRequest>(bytes) else { return Met::Refused };
    // Whatever is asked for, there is a place to begin.
    let _ = (requests::start(request.start), request.format());
    topic_name(&request.topic).map_or(Met::Refused, |_| Met::Understood)
}

fn create_topic(bytes: &[u8]) -> Met {
    let Some(request) = decode::<CreateTopicRequest>(bytes) else { return Met::Refused };
    assert_keeps(request.retention);
    topic_name(&request.topic).map_or(Met::Refused, |_| Met::Understood)
}

fn update_topic(bytes: &[u8]) -> Met {
    let Some(request) = decode::<UpdateTopicRequest>(bytes) else { return Met::Refused };
    assert_keeps(request.retention);
    match requests::expected_version(&request.etag) {
        Ok(None) => assert!(request.etag.is_empty()),
        Ok(Some(version)) => assert_eq!(requests::expected_version(&version.to_string()), Ok(Some(version))),
        Err(refused) => assert_refused(&refused, ErrorReason::InvalidArgument),
    }
    topic_name(&request.topic).map_or(Met::Refused, |_| Met::Understood)
}

fn assert_keeps(asked: Option<admin::Retention>) {
    let kept = requests::retention(asked);
    assert_eq!(admin::Retention { age_ms: kept.age_ms, bytes: kept.bytes }, asked.unwrap_or_default());
}
