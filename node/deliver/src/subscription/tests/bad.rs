//! What consumers say that is wrong. Each must be refused with its reason, and the stream goes on.

use meridian_commitlog::SeekTo;
use meridian_model::subscription::SubscriptionKind;
use meridian_model::{ConsumerId, Offset, Place, UnixMs};

use super::coverage::Met;
use super::judge::ensure;
use super::operation::{Dice, connected};
use super::world::World;
use crate::subscription::state::one;
use crate::subscription::{Epochs, Event, Join, KeyRange, Refusal, Said};

/// What is said, what it is, and how it must be refused.
type Lie = (Met, Event, fn(&Refusal) -> bool);

pub(super) fn say(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let Some(number) = connected(dice, world) else { return Ok(()) };
    let (consumer, manner, pick) = (world.clients[number].id, dice.below(40), dice.roll());
    let lie = match manner {
        0..=3 | 11 | 12 | 16..=25 | 36.. => about_messages(consumer, manner, pick, world),
        27..=31 => about_lanes(consumer, manner, pick, world),
        4..=6 | 13 | 14 | 26 => about_epochs(consumer, manner, pick, world),
        _ => about_more(consumer, manner, pick, world),
    };
    let Some((met, event, right)) = lie else { return Ok(()) };
    let said = format!("{event:?}");
    world.tell(event)?;
    world.met.met(met);
    let mut refusals = world.refusals.iter().map(|(.., refusal)| refusal);
    let refused = refusals.any(|refusal| right(refusal) || matches!(refusal, Refusal::Busy { .. }));
    ensure(refused, || format!("{said} must be refused: {:?}", world.refusals))
}

fn ack(consumer: ConsumerId, place: Place, under: Epochs) -> Event {
    Event::Ack(Said { consumer, request: 0, under, about: vec![one(place)] })
}

/// Where a message stands; beyond the end, where it would stand in the main lane.
fn place(offset: u64, world: &World<'_>) -> Place {
    match offset < world.replica.end() {
        true => world.replica.place(offset),
        false => Place::main(Offset(offset)),
    }
}

fn about_messages(consumer: ConsumerId, manner: u64, pick: u64, world: &World<'_>) -> Option<Lie> {
    let (now, open) = (world.dispatcher.epochs(), world.replica.end() + 3);
    let about = |offset: u64, under: Epochs| ack(consumer, place(offset, world), under);
    let lie: Lie = match manner {
        0 => (Met::BadNeverDelivered, about(open, now), |r| {
            matches!(r, Refusal::NotHeld { .. } | Refusal::StaleOwner { .. })
        }),
        1 | 2 | 16..=20 | 24 | 25 | 36 | 37 => {
            let others = world.judge.held.iter().filter(|(_, (holder, _))| *holder != consumer);
            let others = others.map(|(offset, _)| *offset).filter(|o| world.dispatcher.is_held(Offset(*o)));
            let others: Vec<u64> = others.collect();
            let offset = others.get(pick as usize % others.len().max(1))?;
            let right = |r: &Refusal| matches!(r, Refusal::Foreign { .. } | Refusal::StaleOwner { .. });
            (Met::BadForeign, about(*offset, now), right)
        }
        3 | 11 | 12 | 21..=23 | 38 | 39 => {
            let failed = world.judge.tried.iter().filter(|(_, (_, failed))| *failed);
            let lost = failed
                .filter_map(|(offset, _)| Some((*offset, world.dispatcher.taken_from(Offset(*offset))?)));
            let lost: Vec<(u64, ConsumerId)> = lost.collect();
            let (offset, consumer) = lost.get(pick as usize % lost.len().max(1)).copied()?;
            let right = |r: &Refusal| matches!(r, Refusal::LeaseEnded { .. } | Refusal::StaleOwner { .. });
            (Met::BadLeaseEnded, ack(consumer, place(offset, world), now), right)
        }
        _ => return None,
    };
    Some(lie)
}

/// What it has, said to be somewhere else.
fn about_lanes(consumer: ConsumerId, manner: u64, pick: u64, world: &World<'_>) -> Option<Lie> {
    let now = world.dispatcher.epochs();
    let held = world.judge.held.keys().filter(|offset| world.dispatcher.is_held(Offset(**offset)));
    let held: Vec<u64> = held.copied().collect();
    let offset = *held.get(pick as usize % held.len().max(1))?;
    let wrong =
        Place { deliver_at: UnixMs(world.replica.place(offset).deliver_at.0 + 1), offset: Offset(offset) };
    let right = |r: &Refusal| matches!(r, Refusal::NotHeld { .. } | Refusal::StaleOwner { .. });
    let said = Said { consumer, request: 0, under: now, about: vec![wrong] };
    Some(match manner {
        27..=29 => (Met::BadLane, ack(consumer, wrong, now), right),
        _ => (Met::BadLane, Event::Nack(said), |r| {
            matches!(r, Refusal::NotHeld { .. } | Refusal::Foreign { .. } | Refusal::StaleOwner { .. })
        }),
    })
}

fn about_epochs(consumer: ConsumerId, manner: u64, pick: u64, world: &World<'_>) -> Option<Lie> {
    let (now, open) = (world.dispatcher.epochs(), world.replica.end() + 3);
    let about = |offset: u64, under: Epochs| ack(consumer, place(offset, world), under);
    let lie: Lie = match manner {
        4 | 13 | 26 if world.kind.is_owned() && now.owner > 0 => {
            let under = Epochs { owner: now.owner - 1, ..now };
            let held = world.judge.held.keys().nth(pick as usize % world.judge.held.len().max(1));
            (Met::BadStaleOwner, about(held.copied().unwrap_or(open), under), |r| {
                matches!(r, Refusal::StaleOwner { .. })
            })
        }
        5 | 14 if now.seek > 0 => {
            let under = Epochs { seek: now.seek - 1, ..now };
            (Met::BadStaleSeek, about(pick % open, under), |r| matches!(r, Refusal::StaleSeek { .. }))
        }
        6 => {
            let under = Epochs { dispatch: now.dispatch + 1, ..now };
            (Met::BadFutureEpoch, about(pick % open, under), |r| matches!(r, Refusal::UnknownEpoch { .. }))
        }
        _ => return None,
    };
    Some(lie)
}

fn about_more(consumer: ConsumerId, manner: u64, pick: u64, world: &World<'_>) -> Option<Lie> {
    let (now, open) = (world.dispatcher.epochs(), world.replica.end() + 3);
    let lie: Lie = match manner {
        7 | 34 | 35 if !world.kind.is_owned() => {
            let event = Event::AckCumulative(Said { consumer, request: 0, under: now, about: Offset(pick) });
            (Met::BadCumulativeShared, event, |r| matches!(r, Refusal::CumulativeShared))
        }
        8 => {
            let event = Event::Seek { consumer, request: 0, to: SeekTo::Offset(Offset(open)) };
            (Met::BadSeek, event, |r| matches!(r, Refusal::SeekOutside { .. } | Refusal::NotOwner))
        }
        9 => {
            let event = Event::Credit { consumer, messages: world.bounds.credit_messages_max + 1, bytes: 1 };
            (Met::BadCredit, event, |r| matches!(r, Refusal::CreditOverflow { .. }))
        }
        10 => {
            let kind = match world.kind {
                SubscriptionKind::Shared => SubscriptionKind::KeyShared,
                _ => SubscriptionKind::Shared,
            };
            let ranges = vec![KeyRange { first: 2, last: 1 }];
            let join = Join {
                consumer: ConsumerId::from_u128(77),
                kind,
                priority: 0,
                ranges,
                holds: Vec::new(),
                seek_epoch: 0,
            };
            (Met::BadKind, Event::Joined(join), |r| matches!(r, Refusal::OtherKind { .. }))
        }
        32 | 33 if world.kind == SubscriptionKind::KeyShared => {
            let ranges = vec![KeyRange { first: 2, last: 1 }];
            let (kind, consumer) = (world.kind, ConsumerId::from_u128(77));
            let (priority, holds, seek_epoch) = (0, Vec::new(), now.seek);
            let join = Join { consumer, kind, priority, ranges, holds, seek_epoch };
            (Met::BadRange, Event::Joined(join), |r| {
                matches!(r, Refusal::RangeTaken | Refusal::RangesMixed | Refusal::TooManyConsumers { .. })
            })
        }
        15 => {
            let event = Event::Heartbeat(ConsumerId::from_u128(99));
            (Met::BadUnknownConsumer, event, |r| matches!(r, Refusal::UnknownConsumer))
        }
        _ => return None,
    };
    Some(lie)
}
