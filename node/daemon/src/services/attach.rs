//! `PeerService.Attach`: consumers whose streams end at other nodes, in the partitions led here.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use meridian_dispatch::{Room, Speaker};
use meridian_proto::internal as pb;
use meridian_proto::internal::attach_request::Request as Sent;
use meridian_proto::v1::{ErrorReason, Failure};
use tonic::{Status, Streaming};

use super::subscribing::{Wanted, response};

pub(crate) type AttachStream = Pin<Box<dyn Stream<Item = Result<pb::AttachResponse, Status>> + Send>>;

/// The first request of a node that speaks for a consumer.
pub(super) async fn opening(requests: &mut Streaming<pb::AttachRequest>) -> Result<pb::AttachOpen, Status> {
    match requests.message().await?.and_then(|request| request.request) {
        Some(Sent::Open(open)) => Ok(open),
        _ => Err(Failure::new(ErrorReason::Protocol, "an attachment begins with `open`").into()),
    }
}

/// Lets the consumer take part. What it says and what it hears go their own ways: neither waits for the other.
pub(super) fn attach(
    room: &Arc<Room>,
    open: pb::AttachOpen,
    requests: Streaming<pb::AttachRequest>,
) -> Result<AttachStream, Status> {
    let nonsense = || Failure::new(ErrorReason::Protocol, "the attachment makes no sense");
    let wanted = Wanted::from_wire(open).ok_or_else(nonsense)?;
    let attached = room.attach(wanted.attach());
    tokio::spawn(listen(attached.speaker().clone(), requests));
    let answers = stream::unfold(attached, |mut attached| async move {
        let said = response(attached.answer().await?);
        Some((Ok(pb::AttachResponse { said: Some(said) }), attached))
    });
    Ok(Box::pin(answers))
}

async fn listen(speaker: Speaker, mut requests: Streaming<pb::AttachRequest>) {
    while let Ok(Some(request)) = requests.message().await {
        match request.request {
            Some(Sent::Said(said)) => {
                if let Some(request) = said.request
                    && !speaker.say(request).await
                {
                    return;
                }
            }
            Some(Sent::Leave(_)) => return speaker.leave().await,
            Some(Sent::Open(_)) | None => break,
        }
    }
    speaker.lose();
}
