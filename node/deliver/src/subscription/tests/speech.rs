//! What consumers say that is right, as far as they know.

use meridian_model::{ConsumerId, Offset, Place};

use super::client::Sent;
use super::coverage::Met;
use super::operation::{Dice, connected};
use super::world::World;
use crate::subscription::state::one;
use crate::subscription::{Epochs, Event, Refusal, Said};

pub(super) fn say(dice: &mut Dice<'_>, world: &mut World<'_>) -> Result<(), String> {
    let Some(number) = connected(dice, world) else { return Ok(()) };
    // Most of the time somebody who has something to say.
    let busy = (0..world.clients.len()).cycle().skip(number).take(world.clients.len());
    let mut busy =
        busy.filter(|number| world.clients[*number].connected && !world.clients[*number].holds.is_empty());
    let number = busy.next().unwrap_or(number);
    let (manner, pick, many) = (dice.below(20), dice.roll(), 1 + dice.below(5));
    // Of one delivery epoch, as a request names one.
    let holds = &world.clients[number].holds;
    let Some(under) = holds.values().nth(pick as usize % holds.len().max(1)).map(|hold| hold.under) else {
        return heartbeat(number, world);
    };
    let same = holds.iter().filter(|(_, hold)| hold.under == under).map(|(offset, _)| *offset);
    let offsets: Vec<u64> = same.skip(pick as usize % 2).take(many as usize).collect();
    match manner {
        0..=4 => ack(number, under, &offsets, world),
        5..=8 if world.kind.is_owned() => cumulative(number, under, &offsets, world),
        5..=15 => nack(number, under, &offsets, world),
        16..=18 => extend(number, under, &offsets, world),
        _ => heartbeat(number, world),
    }
}

fn said<T>(number: usize, under: Epochs, about: T, sent: Sent, world: &mut World<'_>) -> Said<T> {
    let client = &mut world.clients[number];
    client.requests += 1;
    client.sent.insert(client.requests, sent);
    Said { consumer: client.id, request: client.requests, under, about }
}

/// Which of these a consumer got through with, by what was refused.
fn heeded(offsets: &[u64], request: u64, refusals: &[(ConsumerId, Option<u64>, Refusal)]) -> Vec<u64> {
    let refused = refusals.iter().filter(|(_, of, _)| *of == Some(request)).map(|(.., refusal)| refusal);
    let (mut left, mut all) = (offsets.to_vec(), true);
    for refusal in refused {
        match refusal {
            Refusal::NotHeld { offset }
            | Refusal::Foreign { offset }
            | Refusal::LeaseEnded { offset }
            | Refusal::TooManyHoles { offset } => left.retain(|left| *left != offset.0),
            _ => all = false,
        }
    }
    if all { left } else { Vec::new() }
}

pub(super) fn ack(
    number: usize,
    under: Epochs,
    offsets: &[u64],
    world: &mut World<'_>,
) -> Result<(), String> {
    world.met.met(Met::OpAck);
    if offsets.len() > 1 {
        world.met.met(Met::OpAckRange);
    }
    let ranges = offsets.iter().map(|offset| one(world.replica.place(*offset))).collect();
    let said = said(number, under, ranges, Sent { seek_epoch: under.seek, ..Sent::default() }, world);
    let (request, late) = (said.request, under.dispatch < world.dispatcher.epochs().dispatch);
    world.tell_about(Event::Ack(said), |world, refusals| {
        let heeded = heeded(offsets, request, refusals);
        if late && !heeded.is_empty() {
            world.met.met(Met::LateAckTaken);
        }
        done(number, request, &heeded, offsets, world);
    })
}

fn done(number: usize, request: u64, heeded: &[u64], offsets: &[u64], world: &mut World<'_>) {
    for offset in heeded {
        world.judge.said_done.insert(*offset);
        world.judge.released(*offset, false);
    }
    let client = &mut world.clients[number];
    client.holds.retain(|offset, _| !offsets.contains(offset));
    if let Some(sent) = client.sent.get_mut(&request) {
        sent.acked = heeded.to_vec();
    }
    if heeded.is_empty() {
        client.sent.remove(&request);
    }
}

fn cumulative(number: usize, under: Epochs, offsets: &[u64], world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpCumulative);
    let below = offsets.last().map_or(0, |last| last + 1);
    let id = world.clients[number].id;
    let said = said(number, under, Offset(below), Sent { seek_epoch: under.seek, ..Sent::default() }, world);
    let request = said.request;
    world.tell_about(Event::AckCumulative(said), |world, refusals| {
        let fenced = refusals
            .iter()
            .any(|(_, of, refusal)| *of == Some(request) && !matches!(refusal, Refusal::NotHeld { .. }));
        let now = world.now;
        let held = world.judge.held.iter();
        let mine = held.filter(|(o, (holder, until))| **o < below && *holder == id && *until > now);
        let held = mine.filter(|(offset, _)| !world.replica.place(**offset).is_delayed());
        let held: Vec<u64> = held.map(|(offset, _)| *offset).collect();
        let heeded = if fenced { Vec::new() } else { held.clone() };
        // It meant everything that it was given.
        if !fenced {
            let meant = world.judge.last_holder.iter().filter(|(o, last)| **o < below && **last == id);
            let meant: Vec<u64> = meant.map(|(offset, _)| *offset).collect();
            world.judge.said_done.extend(meant);
        }
        done(number, request, &heeded, &held, world);
        if !fenced {
            world.clients[number]
                .sent
                .insert(request, Sent { acked: heeded, seek_epoch: under.seek, ..Sent::default() });
        }
    })
}

fn nack(number: usize, under: Epochs, offsets: &[u64], world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpNack);
    let about = offsets.iter().map(|offset| world.replica.place(*offset)).collect::<Vec<Place>>();
    let said = said(number, under, about, Sent { seek_epoch: under.seek, ..Sent::default() }, world);
    let request = said.request;
    world.tell_about(Event::Nack(said), |world, refusals| {
        let heeded = heeded(offsets, request, refusals);
        let count = |offset: &u64| world.replica.attempts(*offset).count;
        let nacked: Vec<(u64, u32)> = heeded.iter().map(|offset| (*offset, count(offset))).collect();
        heeded.iter().for_each(|offset| world.judge.released(*offset, true));
        let client = &mut world.clients[number];
        client.holds.retain(|offset, _| !offsets.contains(offset));
        match client.sent.get_mut(&request) {
            Some(sent) if !heeded.is_empty() => sent.nacked = nacked,
            _ => drop(client.sent.remove(&request)),
        }
    })
}

fn extend(number: usize, under: Epochs, offsets: &[u64], world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpExtend);
    let about = offsets.iter().map(|offset| world.replica.place(*offset)).collect::<Vec<Place>>();
    let said = said(number, under, about, Sent::default(), world);
    let (request, id) = (said.request, said.consumer);
    let until = world.now + world.replica.rules.lease_ms;
    world.tell_about(Event::Extend(said), |world, refusals| {
        for offset in heeded(offsets, request, refusals) {
            world.judge.held.insert(offset, (id, until));
        }
    })
}

fn heartbeat(number: usize, world: &mut World<'_>) -> Result<(), String> {
    world.met.met(Met::OpHeartbeat);
    let id = world.clients[number].id;
    world.tell(Event::Heartbeat(id))
}
