//! One run: whatever happens, then everything heals, and nothing may be left.

use meridian_model::subscription::{Backoff, SubscriptionKind, SubscriptionRules};

use super::answers::Outcome;
use super::coverage::{Coverage, Met};
use super::judge::ensure;
use super::judge::times::ATTEMPTS_AMPLE;
use super::operation::{self, Dice, grant, rejoin};
use super::world::World;
use crate::subscription::{DispatchBounds, Event, KeyRange, Leaving};

/// What happens in one step.
pub(super) type Cell = [u8; 16];

const CLIENTS: usize = 5;
/// Messages with attempts in some of the runs.
const FEW_ATTEMPTS: usize = 3;
const ROUNDS_MAX: usize = 600;

/// Bounds so small that random runs meet every one of them.
pub(super) fn small() -> DispatchBounds {
    DispatchBounds {
        consumers_max: 3,
        unacked_consumer_max: 4,
        unacked_max: 9,
        window_messages_max: 8,
        fetch_bytes: 1,
        settled_ranges_max: 3,
        settled_delayed_max: 5,
        attempts_max: FEW_ATTEMPTS,
        destinations_max: 1,
        settle_items_max: 3,
        settled_known_ranges_max: 12,
        unconfirmed_max: 5,
        credit_messages_max: 40,
        credit_bytes_max: 4_000,
        grace_ms: 20,
        silence_ms: 200,
        retry_ms: 3,
    }
}

/// Runs a tape. Its first cell says of which kind the subscription is.
pub(super) fn run(tape: &[Cell], met: &mut Coverage) -> Result<(), String> {
    let first = tape.first().copied().unwrap_or_default();
    let kind = match first[0] % 4 {
        0 => SubscriptionKind::Exclusive,
        1 => SubscriptionKind::Failover,
        2 => SubscriptionKind::Shared,
        _ => SubscriptionKind::KeyShared,
    };
    let attempts_max = Some([1, 1, 2, 3][usize::from(first[1] % 4)]).filter(|_| first[1] >= 32);
    let backoff = Backoff::Exponential { first_ms: 15, max_ms: 60 };
    let rules = SubscriptionRules { kind, lease_ms: 40, backoff, attempts_max };
    let attempts_max = if first[3].is_multiple_of(4) { FEW_ATTEMPTS } else { ATTEMPTS_AMPLE };
    let bounds = DispatchBounds { attempts_max, ..small() };
    let mut world = World::new(rules, bounds, CLIENTS, met);
    if kind == SubscriptionKind::KeyShared && first[2].is_multiple_of(2) {
        world.clients.iter_mut().zip(0u16..).for_each(|(client, number)| client.ranges = vec![part(number)]);
    }
    begin(&first, &mut world)?;
    for cell in tape.iter().skip(1) {
        operation::step(cell, &mut world)?;
    }
    heal(&mut world)
}

/// Some consumers and messages are there already.
fn begin(cell: &Cell, world: &mut World<'_>) -> Result<(), String> {
    for number in 0..2 {
        rejoin(number, world)?;
        if world.clients[number].connected {
            grant(number, 12, 1_000, world)?;
        }
    }
    for rest in [&cell[4..10], &cell[10..]] {
        operation::append(&mut Dice(rest.iter()), world)?;
    }
    Ok(())
}

/// The keys of one consumer of three. There are more, who want some that are another's.
fn part(number: u16) -> KeyRange {
    let each = u16::MAX / 3;
    let first = number.min(2) * each;
    KeyRange { first, last: if number < 2 { first + (each - 1) } else { u16::MAX } }
}

/// SUB-1: with consumers that work, nothing is left undelivered, and every request is answered.
fn heal(world: &mut World<'_>) -> Result<(), String> {
    // The one that is too many.
    let spare = world.clients[CLIENTS - 1].id;
    world.clients[CLIENTS - 1].disconnect();
    world.judge.released_all(spare, false);
    world.tell(Event::Left(spare, Leaving::Closed))?;
    for _ in 0..ROUNDS_MAX {
        world.now += 7;
        world.replica.move_letters(world.now, 50);
        world.outbox()?;
        while world.answer_read(false)? {}
        while world.answer_commit(Outcome::Committed)? || world.answer_begin(true)? {}
        world.answer_own(Outcome::Committed)?;
        for number in 0..CLIENTS - 1 {
            work(number, world)?;
        }
        let open = world.replica.open().next().is_some();
        let unanswered = world.clients.iter().any(|client| !client.sent.is_empty());
        if !open && !unanswered && world.commit.is_none() && nothing_is_left(world) {
            world.met.met(Met::HealedAndDrained);
            return Ok(());
        }
    }
    let open = world.replica.open().next();
    let unanswered: Vec<_> =
        world.clients.iter().filter(|c| !c.sent.is_empty()).map(|c| (c.id, &c.sent)).collect();
    let backlog = world.replica.view().backlog();
    ensure(false, || format!("SUB-1: healed, and {open:?} is open, unanswered {unanswered:?}, {backlog:?}"))
}

/// The partition, too, has nothing to wait for: whatever is delayed was passed, and its floor is the end of the log.
fn nothing_is_left(world: &World<'_>) -> bool {
    let view = world.replica.view();
    let backlog = view.backlog();
    view.floor().0 == world.replica.end() && backlog.main == 0 && (backlog.delayed == 0 || !backlog.is_exact)
}

/// A consumer that takes everything and acks it.
fn work(number: usize, world: &mut World<'_>) -> Result<(), String> {
    if !world.clients[number].connected {
        world.clients[number].holds.clear();
        rejoin(number, world)?;
    }
    if !world.clients[number].connected {
        return Ok(());
    }
    grant(number, 10, 1_000, world)?;
    let holds = world.clients[number].holds.clone();
    for (offset, hold) in holds.iter().take(4) {
        if world.clients[number].connected {
            super::speech::ack(number, hold.under, &[*offset], world)?;
        }
    }
    Ok(())
}
