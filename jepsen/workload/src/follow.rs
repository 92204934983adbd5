//! A reader of the SDK that follows a partition through everything.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use meridian_history::{Page, Read, Skip, SkipReason};
use meridian_sdk::{Error, Item, Reader, Start};

use crate::chance::Chance;
use crate::oracle;
use crate::region::Region;
use crate::scene::Scene;

const PAGE_RECORDS: usize = 64;
/// A page that nothing comes for ends empty.
const QUIET: Duration = Duration::from_millis(500);
/// Longer than any fault of a run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Follows a partition until the work is over.
pub async fn follow(scene: Arc<Scene>, region: impl Region, partition: u32, mut chance: Chance) {
    let (process, session) = (scene.number(), scene.number());
    let mut reader = loop {
        match open(&scene, &region, partition, &mut chance).await {
            Ok(reader) => break reader,
            Err(_) if scene.manner.opens_again && !scene.is_over() => scene.pause(50).await,
            Err(error) => return scene.tally.sdk_error("open reader", &error),
        }
    };
    let mut next = 0;
    while !scene.is_over() {
        let call =
            Read { topic: scene.topic.clone(), partition, session, node: None, from: next, page: None };
        let pending = scene.recorder.invoke(process, call);
        let mut page = Page::default();
        let outcome = fill(&mut reader, &mut page).await;
        scene.tally.read(page.records.len());
        let seen = page.records.iter().map(|seen| seen.offset + 1);
        next = seen.chain(page.skips.iter().map(|skip| skip.to)).max().unwrap_or(next).max(next);
        match outcome {
            Ok(()) => pending.ok(page),
            Err(error) => {
                scene.tally.sdk_error("follow", &error);
                pending.partial(page, error.to_string());
                return;
            }
        }
    }
}

async fn open(
    scene: &Scene,
    region: &impl Region,
    partition: u32,
    chance: &mut Chance,
) -> Result<Reader, Error> {
    let reader = region.client(chance.any())?.reader(&scene.topic).partition(partition);
    reader.start(Start::Earliest).follow(true).patience(PATIENCE).open().await
}

/// What is there, or what comes within the quiet time.
async fn fill(reader: &mut Reader, page: &mut Page) -> Result<(), Error> {
    let Ok(mut item) = tokio::time::timeout(QUIET, reader.next()).await else { return Ok(()) };
    loop {
        match item {
            None => return Ok(()),
            Some(Err(error)) => return Err(error),
            Some(Ok(Item::Skipped { from, to, .. })) => {
                page.skips.push(Skip { from: from.0, to: to.0, reason: SkipReason::Trimmed });
            }
            Some(Ok(Item::Record(record))) => {
                page.records.push(oracle::open(record.offset.0, record.key.as_deref(), &record.body));
            }
        }
        if page.records.len() >= PAGE_RECORDS {
            return Ok(());
        }
        match reader.next().now_or_never() {
            Some(next) => item = next,
            None => return Ok(()),
        }
    }
}
