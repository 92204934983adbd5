//! The end of a run: everything is consumed, and the dead letters are read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_history::{DeadLetter, DeadLetters, Drain, Drained, FinalState, SettledState, Source, Span};
use meridian_sdk::{Item, Start};

use super::Queue;
use crate::chance::Chance;
use crate::oracle;
use crate::region::Region;
use crate::scene::Scene;
use crate::wait;

/// Properties of a dead letter that say where it is from.
const FROM_PARTITION: &str = "meridian.dead.partition";
const FROM_LOG: &str = "meridian.dead.log";
const FROM_OFFSET: &str = "meridian.dead.offset";

/// Waits until nothing is left in any partition, while consumers are at work. To be called after every fault has
/// healed. `unsettled`: how many messages of a partition are not settled or not moved to the dead-letter topic yet, as
/// the server says.
///
/// # Errors
/// If something is left when the time is over.
pub async fn drain<U>(
    scene: &Scene,
    region: &impl Region,
    queue: &Queue,
    within: Duration,
    mut chance: Chance,
    unsettled: U,
) -> Result<()>
where
    U: AsyncFn(u32) -> Result<u64>,
{
    let client = region.client(chance.any())?;
    for partition in 0..scene.partitions {
        let (topic, subscription) = (scene.topic.clone(), queue.subscription.clone());
        let call = Drain { topic, partition, subscription, drained: None };
        let pending = scene.recorder.invoke(scene.number(), call);
        let end = client.get_log(&scene.topic, partition, true).await?.end;
        let what = format!("partition {partition} to be drained");
        wait::until(&what, within, async || matches!(unsettled(partition).await, Ok(0)).then_some(()))
            .await?;
        pending.ok(Drained { through: end.0, at_ms: queue.clock.now().0 });
    }
    Ok(())
}

/// Asks what is settled in each partition. To be called when nothing is settled any more.
///
/// # Errors
/// If somebody cannot be asked, or does not tell all of it.
pub async fn final_state(
    scene: &Scene,
    region: &impl Region,
    queue: &Queue,
    mut chance: Chance,
) -> Result<()> {
    let admin = region.client(chance.any())?.admin();
    for partition in 0..scene.partitions {
        let (topic, subscription) = (scene.topic.clone(), queue.subscription.clone());
        let call = FinalState { topic, partition, subscription, state: None };
        let pending = scene.recorder.invoke(scene.number(), call);
        let told = admin.get_subscription(&scene.topic, &queue.subscription).await?;
        let standing = told.partitions.into_iter().find(|told| told.partition == partition);
        let standing = standing.and_then(|told| told.standing.ok().flatten());
        let standing = standing.with_context(|| format!("nobody knows what is settled in {partition}"))?;
        ensure!(
            standing.settled_ranges == standing.settled.len() as u64
                && standing.delayed_messages + standing.dropped_messages == 0,
            "not all that is settled in {partition} is told: {standing:?}"
        );
        let ranges = standing.settled.iter().map(|(from, to)| Span { from: from.0, to: to.0 }).collect();
        let at_ms = queue.clock.now().0;
        pending.ok(SettledState { floor: standing.floor.0, ranges, at_ms, ..SettledState::default() });
    }
    Ok(())
}

/// Reads the dead-letter topic to its end, if there is one.
///
/// # Errors
/// If it cannot be read, or a letter does not say where it is from.
pub async fn dead_letters(
    scene: Arc<Scene>,
    region: &impl Region,
    queue: &Queue,
    mut chance: Chance,
) -> Result<()> {
    let Some((_, dead_letter)) = &queue.dead_letters else { return Ok(()) };
    let (topic, subscription) = (scene.topic.clone(), queue.subscription.clone());
    let call = DeadLetters { topic, subscription, dead_letter: dead_letter.clone(), letters: None };
    let pending = scene.recorder.invoke(scene.number(), call);
    let mut reader = region.client(chance.any())?.reader(dead_letter).start(Start::Earliest).open().await?;
    let mut letters = Vec::new();
    while let Some(item) = reader.next().await {
        let record = match item? {
            Item::Record(record) => record,
            Item::Skipped { .. } => anyhow::bail!("dead letters were removed before they were read"),
        };
        let seen = oracle::open(record.offset.0, record.key.as_deref(), &record.body);
        let named = |name: &str| {
            let found = record.properties.iter().find(|(property, _)| property == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let from = (named(FROM_PARTITION), named(FROM_LOG), named(FROM_OFFSET));
        ensure!(
            matches!(from, (Some(_), Some(_), Some(_))),
            "a dead letter that does not say where it is from"
        );
        let (Some(partition), Some(log), Some(offset)) = from else { continue };
        let source = Source { partition: partition.parse()?, log, offset: offset.parse()? };
        let (partition, offset) = (record.partition, record.offset.0);
        letters.push(DeadLetter { partition, offset, id: seen.id, source });
    }
    pending.ok(letters);
    Ok(())
}
