//! Requests as clients and operators send them.

use bytes::Bytes;
use meridian_proto::admin::{self, CreateTopicRequest, UpdateTopicRequest};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::{
    self, OpenProducerRequest, PlainMessage, PlainMessages, PublishRequest, PublishStreamRequest, ReadRequest,
};
use prost::Message;

use crate::targets::batch;

/// Every kind of message as a client sends it.
pub(in crate::targets) fn seeds() -> Vec<Vec<u8>> {
    let topic = || "acme/air/flights".to_string();
    let message = PlainMessage {
        key: Some(Bytes::from_static(b"k")),
        properties: [("n".to_string(), Bytes::from_static(b"v"))].into(),
        body: Bytes::from_static(b"hello"),
    };
    let messages = PlainMessages { messages: vec![message.clone(), message, PlainMessage::default()] };
    let batch: Bytes = batch::seeds().remove(0).into();
    let retention = Some(admin::Retention { age_ms: Some(60_000), bytes: None });
    let publish = |payload| PublishRequest { topic: topic(), payload: Some(payload), ..Default::default() };
    let open = v1::PublishOpen { topic: topic(), accept_redirect: true };
    let sent = v1::PublishBatch { correlation: 9, partition: 3, batch: batch.clone(), opened_at_ms: 7 };
    let stream = |request| PublishStreamRequest { request: Some(request) };
    let named = OpenProducerRequest { topic: topic(), name: "tower".into(), request_id: "r1".into() };
    let start = Some(v1::read_request::Start::TimeMs(77));
    let create = CreateTopicRequest { topic: topic(), partitions: 3, retention, ..Default::default() };
    let update = UpdateTopicRequest { topic: topic(), retention, etag: "12".into(), ..Default::default() };
    let full = "tenants/t/namespaces/n/topics/x".to_string();
    let mut seeds = vec![
        (0, publish(Payload::Messages(messages)).encode_to_vec()),
        (0, publish(Payload::Batch(batch)).encode_to_vec()),
        (1, stream(v1::publish_stream_request::Request::Open(open)).encode_to_vec()),
        (1, stream(v1::publish_stream_request::Request::Batch(sent)).encode_to_vec()),
        (2, named.encode_to_vec()),
        (3, ReadRequest { topic: full.clone(), start, follow: true, ..Default::default() }.encode_to_vec()),
        (6, create.encode_to_vec()),
        (7, update.encode_to_vec()),
    ];
    let lookup = v1::LookupTopicRequest { topic: full }.encode_to_vec();
    // Every other message begins with a name, or is as good as empty.
    seeds.extend([4, 5, 8, 9, 10].map(|kind| (kind, lookup.clone())));
    seeds.extend((11..=17).map(|kind| (kind, if kind == 13 { Vec::new() } else { lookup.clone() })));
    seeds.extend((18..=20).map(|kind| (kind, vec![8, 1])));
    seeds.into_iter().map(|(kind, message)| [vec![kind], message].concat()).collect()
}
