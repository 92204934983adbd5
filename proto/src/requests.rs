//! From the wire's requests to what the rooms understand: what a request must pass before anything is done for it.

use bytes::Bytes;
use meridian_model::topology::Retention;
use meridian_model::{BatchBuilder, Codec, Message, NameError, Offset, ProducerId, Start, TopicName, UnixMs};

use tonic::Status;

use crate::admin;
use crate::v1::{ErrorReason, Failure, PlainMessages, read_request};

/// A topic name.
pub fn topic_name(name: &str) -> Result<TopicName, Failure> {
    TopicName::parse(name).map_err(|error| match &error {
        NameError::Shape { .. } => Failure::invalid("topic", error.to_string().trim_start_matches("topic: ")),
        NameError::Empty { field }
        | NameError::TooLong { field, .. }
        | NameError::Character { field, .. } => {
            let field = *field;
            Failure::invalid(field, error.to_string().trim_start_matches(field).trim_start_matches(": "))
        }
    })
}

/// Plain messages as one batch of nobody in particular. `now` is when it was made.
pub fn pack(messages: PlainMessages, now: UnixMs) -> Result<Bytes, Failure> {
    let mut builder = BatchBuilder::new(Codec::None).published_at(now);
    for plain in messages.messages {
        let message =
            Message { key: plain.key, properties: plain.properties.into_iter().collect(), body: plain.body };
        message.check().map_err(|error| Failure::new(ErrorReason::TooLarge, format!("messages: {error}")))?;
        if !builder.fits(&message) {
            return Err(Failure::new(
                ErrorReason::TooLarge,
                "messages: together they do not fit into one batch",
            ));
        }
        builder.push(&message);
    }
    let batch = builder.build().map_err(|error| Failure::invalid("messages", error))?;
    Ok(batch.into_bytes())
}

/// Where a reading session begins.
pub fn start(start: Option<read_request::Start>) -> Start {
    match start {
        Some(read_request::Start::Offset(offset)) => Start::Offset(Offset(offset)),
        Some(read_request::Start::TimeMs(time)) => Start::Time(UnixMs(time)),
        Some(read_request::Start::Latest(true)) => Start::Latest,
        Some(read_request::Start::Earliest(_) | read_request::Start::Latest(false)) | None => Start::Earliest,
    }
}

/// What is kept of a topic; nothing said: everything.
pub fn retention(retention: Option<admin::Retention>) -> Retention {
    let retention = retention.unwrap_or_default();
    Retention { age_ms: retention.age_ms, bytes: retention.bytes }
}

/// The version that a change expects, if it expects one.
pub fn expected_version(etag: &str) -> Result<Option<u64>, Failure> {
    match etag {
        "" => Ok(None),
        etag => match etag.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(Failure::invalid("etag", "not an etag of this cluster")),
        },
    }
}

/// A producer's identity, 16 bytes.
pub fn producer(id: &[u8]) -> Result<ProducerId, Status> {
    id.try_into().map(ProducerId).map_err(|_| Status::invalid_argument("producer_id"))
}
