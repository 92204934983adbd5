//! Reading sessions page by page, each page one attempt: through the cluster, or from one replica.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Page, Read, Skip, SkipReason};
use meridian_model::Batch;
use meridian_model::batch::decode_range;
use meridian_model::limits::RPC_BYTES_MAX;
use meridian_proto::v1::read_request::Start;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{ReadFormat, ReadRequest, ReadResponse};
use tonic::Status;

use crate::chance::Chance;
use crate::oracle;
use crate::region::Region;
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(2);
const PAGE_MESSAGES: u64 = 200;

/// What a reader of pages reads, and whom it asks.
#[derive(Debug, Clone, Copy)]
pub struct Pager {
    /// The partition.
    pub partition: u32,
    /// The one replica that is asked; none: wherever the cluster sends the question.
    pub replica: Option<u64>,
}

/// A session: where it stands, and whom it asks.
struct Session {
    number: u64,
    pager: Pager,
    next: u64,
}

/// Reads until the work is over.
pub async fn read_pages(scene: Arc<Scene>, region: impl Region, pager: Pager, mut chance: Chance) {
    let process = scene.number();
    let mut session = Session { number: scene.number(), pager, next: 0 };
    while !scene.is_over() {
        let at = pager.replica.unwrap_or_else(|| region.any_node(&mut chance));
        let call = Read {
            topic: scene.topic.clone(),
            partition: pager.partition,
            session: session.number,
            node: pager.replica.map(|node| region.name(node)),
            from: session.next,
            page: None,
        };
        let pending = scene.recorder.invoke(process, call);
        let mut page = Page::default();
        let fetching = fetch(&scene, &region, at, &session, &mut chance, &mut page);
        let outcome = tokio::time::timeout(PATIENCE, fetching).await;
        scene.tally.read(page.records.len());
        session.go_on(&page);
        match outcome {
            Ok(Ok(())) => pending.ok(page),
            Ok(Err(status)) if page == Page::default() => pending.fail(status.message()),
            Ok(Err(status)) => pending.partial(page, status.message()),
            Err(_) => {
                region.forget(at);
                pending.partial(page, "no end within two seconds");
            }
        }
        scene.pause(scene.manner.page_pause_ms).await;
    }
}

impl Session {
    fn go_on(&mut self, page: &Page) {
        let seen = page.records.iter().map(|seen| seen.offset + 1);
        let skipped = page.skips.iter().map(|skip| skip.to);
        self.next = seen.chain(skipped).max().unwrap_or_default().max(self.next);
    }
}

async fn fetch(
    scene: &Scene,
    region: &impl Region,
    at: u64,
    session: &Session,
    chance: &mut Chance,
    page: &mut Page,
) -> Result<(), Status> {
    let format = chance.pick(&[ReadFormat::Batches, ReadFormat::Messages]);
    let request = ReadRequest {
        topic: scene.topic.clone(),
        partition: session.pager.partition,
        follow: false,
        format: format as i32,
        replica_node: session.pager.replica,
        messages_max: PAGE_MESSAGES,
        clamp: true,
        start: Some(Start::Offset(session.next)),
    };
    let channel = region.channel(at).map_err(|error| Status::internal(error.to_string()))?;
    let mut client = ReadServiceClient::new(channel).max_decoding_message_size(RPC_BYTES_MAX);
    let mut stream = client.read(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        take(response, session.next, page)?;
    }
    Ok(())
}

/// Puts what came into the page; messages before the one asked for are not part of it.
fn take(response: ReadResponse, from: u64, page: &mut Page) -> Result<(), Status> {
    if let Some(range) = response.skipped {
        page.skips.push(Skip { from: range.from, to: range.to, reason: SkipReason::Trimmed });
    }
    for stored in response.batches {
        let damaged = |error| Status::data_loss(format!("batch at {}: {error}", stored.base_offset));
        let batch = Batch::verify(stored.batch).map_err(damaged)?;
        let messages = decode_range(&batch, 0, batch.header().count).map_err(damaged)?;
        for (message, offset) in
            messages.iter().zip(stored.base_offset..).filter(|(_, offset)| *offset >= from)
        {
            page.records.push(oracle::open(offset, message.key.as_deref(), &message.body));
        }
    }
    for message in response.messages.iter().filter(|message| message.offset >= from) {
        page.records.push(oracle::open(message.offset, message.key.as_deref(), &message.body));
    }
    Ok(())
}
