//! A consumer's life, again and again under new names.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Deliver, Done, Join, Part, Parting, Pending};
use meridian_sdk::consumer::{Consumer, Delivery};
use meridian_sdk::{Error, Reason};
use tokio::time::Instant;

use super::Queue;
use super::hand::Hand;
use crate::chance::Chance;
use crate::region::Region;
use crate::scene::Scene;

/// Messages in hand above which a consumer says nothing more about going slowly.
const IN_HAND_MAX: usize = 256;
/// How often a consumer that gets nothing looks around.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than any fault of a run.
const FAREWELL_MAX: Duration = Duration::from_secs(60);

/// Consumes until the work is over, as one consumer after the other.
pub async fn consume(
    scene: Arc<Scene>,
    region: impl Region,
    queue: Arc<Queue>,
    nth: u64,
    mut chance: Chance,
) {
    for life in 0.. {
        if scene.is_over() {
            return;
        }
        let name = format!("consumer-{nth}-{life}");
        match join(&scene, &region, &queue, &name, &mut chance).await {
            Some(consumer) => live(&scene, &queue, name, consumer, &mut chance).await,
            None => scene.pause(50).await,
        }
    }
}

async fn join(
    scene: &Scene,
    region: &impl Region,
    queue: &Queue,
    name: &str,
    chance: &mut Chance,
) -> Option<Consumer> {
    let (topic, subscription, kind) = (scene.topic.clone(), queue.subscription.clone(), queue.kind);
    let call = Join { topic, subscription, consumer: name.to_owned(), kind, joined: None };
    let pending = scene.recorder.invoke(scene.number(), call);
    match queue.open(scene, region, chance).await {
        Ok(consumer) => {
            pending.ok(Done {});
            Some(consumer)
        }
        Err(error) if matches!(error.refusal(), Some(Reason::ConsumerPresent | Reason::NotFound)) => {
            pending.fail(error.to_string());
            None
        }
        Err(error) => {
            pending.info(error.to_string());
            None
        }
    }
}

async fn live(
    scene: &Arc<Scene>,
    queue: &Arc<Queue>,
    name: String,
    mut consumer: Consumer,
    chance: &mut Chance,
) {
    let (least, most) = queue.habits.stay_ms;
    let until = Instant::now() + Duration::from_millis(chance.between(least, most));
    let mut hand = Hand::new(scene.clone(), queue.clone(), name.clone(), consumer.settler());
    let mut asked: VecDeque<Pending<Deliver>> = (0..queue.credit).map(|_| hand.ask()).collect();
    let orderly = chance.percent(50);
    let mut draining = None;
    let mut broken = false;
    loop {
        hand.look();
        let over = Instant::now() >= until || scene.is_over();
        if over && !orderly {
            break;
        }
        if over && draining.is_none() {
            draining = Some((consumer.drain(), Instant::now() + FAREWELL_MAX));
        }
        if draining.as_ref().is_some_and(|(_, by)| *by <= Instant::now()) {
            break;
        }
        let Ok(next) = tokio::time::timeout(LOOK_EVERY, consumer.next()).await else { continue };
        match next {
            None => break,
            Some(Err(error)) => broken |= met(scene, &error),
            Some(Ok(delivery)) => {
                let Some(credit) = asked.pop_front() else { continue };
                hand.take(credit, delivery.clone());
                asked.push_back(hand.ask());
                decide(&mut hand, queue, &delivery, draining.is_some(), chance);
            }
        }
        scene.pause(scene.manner.page_pause_ms).await;
    }
    let drained = draining.is_some() && hand.len() == 0;
    leave(scene, queue, name, consumer, hand, drained && !broken).await;
}

/// An error that the SDK let through. Whether something of the consumer's life is not known.
fn met(scene: &Scene, error: &Error) -> bool {
    if !error.is_unavailable() && error.refusal() != Some(Reason::ConsumerPresent) {
        scene.tally.sdk_error("consume", error);
    }
    true
}

async fn leave(
    scene: &Scene,
    queue: &Queue,
    name: String,
    consumer: Consumer,
    mut hand: Hand,
    drained: bool,
) {
    // One that was given up by its node counts as gone since then; and what was lost on its way to the application was
    // an attempt that is in no history.
    let left = drained && consumer.missed() == 0;
    let since = scene.recorder.now_ns().saturating_sub(consumer.last_heard().elapsed().as_nanos() as u64);
    let (topic, subscription) = (scene.topic.clone(), queue.subscription.clone());
    let how = if left { Parting::Left } else { Parting::Cut };
    let call = Part { topic, subscription, consumer: name, how, gone: None };
    let pending = scene.recorder.invoke_since(scene.number(), call, since);
    let _ = tokio::time::timeout(FAREWELL_MAX, consumer.close()).await;
    hand.finish().await;
    pending.ok(Done {});
}

fn decide(hand: &mut Hand, queue: &Queue, delivery: &Delivery, calm: bool, chance: &mut Chance) {
    let habits = queue.habits;
    let poison = queue.dead_letters.is_some() && delivery.sequence % 7 == 3;
    if poison {
        return hand.nack(delivery);
    }
    let luck = if calm { 100 } else { chance.between(0, 99) };
    let (nack, silence) = (habits.nack, habits.nack + habits.silence);
    let (extend, cumulative) = (silence + habits.extend, silence + habits.extend + habits.cumulative);
    match luck {
        luck if luck < nack => hand.nack(delivery),
        luck if luck < silence && hand.len() < IN_HAND_MAX => {}
        luck if luck < extend => {
            hand.extend(delivery);
            hand.ack(delivery);
        }
        luck if luck < cumulative && queue.kind.is_owned() => hand.ack_with_all_before(delivery),
        _ => hand.ack(delivery),
    }
}
