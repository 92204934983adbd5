//! Plants in who is given what: owners, possessions, bounds, keys.

use meridian_history::*;

use super::{Broken, GHOST, Handed};
use crate::queue::{Chance, NAME, TOPIC};

/// The first delivery of an owner, and one of a later owner.
fn succession(history: &Broken, chance: &mut Chance) -> Option<(Handed, Handed)> {
    let all = history.handed();
    let earlier = chance.pick(&all)?;
    let owner = earlier.what.epochs.owner?;
    let later: Vec<Handed> = all
        .into_iter()
        .filter(|handed| handed.what.epochs.owner.is_some_and(|other| other > owner))
        .collect();
    Some((earlier, chance.pick(&later)?))
}

pub(crate) fn split(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((earlier, later)) = succession(history, chance) else { return false };
    history.hand(later.came + 1, later.came + 1_000, &earlier.consumer, earlier.what);
    true
}

pub(crate) fn twin(history: &mut Broken, chance: &mut Chance) -> bool {
    let all = history.handed();
    let Some(one) = chance.pick(&all).filter(|one| one.what.epochs.owner.is_some()) else { return false };
    history.hand(one.asked, one.came, GHOST, one.what);
    true
}

pub(crate) fn zombie(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((earlier, later)) = succession(history, chance) else { return false };
    let by = Holder {
        topic: TOPIC.into(),
        partition: 0,
        subscription: NAME.into(),
        consumer: earlier.consumer,
        epochs: earlier.what.epochs,
    };
    let (of, settled) = (AckOf::Single(earlier.what.offset), Some(Settled::default()));
    history.add(later.came + 1, later.came + 1_000, Ack { by, of, settled });
    true
}

/// A delivery that is certainly held for a while after it came.
fn held(history: &mut Broken, chance: &mut Chance) -> Option<Handed> {
    let owned = history.rules().kind.is_owned();
    let all = history.handed();
    let one = chance.pick(&all).filter(|_| !owned)?;
    // Half of the lease after it was asked for, it still runs whatever clocks do.
    let lasts = history.let_go(&one) > one.came + 3_000 && one.came + 3_000 < one.asked + 200_000_000;
    let plain = history.sent(one.what.offset).is_some_and(|sent| sent.times.is_empty());
    (lasts && plain).then_some(one)
}

pub(crate) fn double(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some(one) = held(history, chance) else { return false };
    history.hand(one.came, one.came + 1_000, GHOST, one.what);
    true
}

pub(crate) fn exceed(history: &mut Broken, chance: &mut Chance) -> bool {
    let rules = history.rules();
    let Some(max) = rules.unacked_consumer_max.filter(|_| !rules.kind.is_owned()) else { return false };
    let all = history.handed();
    let Some(one) = chance.pick(&all).filter(|_| !history.was_sought()) else { return false };
    let quiet = history.drained() + 10_000_000;
    for nth in 0..=max {
        let id = MessageId::new("q", 0, nth);
        let times = Times::default();
        let what = Delivery { offset: 1_000 + nth, id, key: None, times, ..one.what.clone() };
        history.hand(quiet, quiet + 1_000 + nth, GHOST, what);
    }
    true
}

/// Two messages of one key, without times, the lower one first, that nobody gave out in another way.
fn neighbours(history: &mut Broken, chance: &mut Chance) -> Option<(Handed, Handed)> {
    if history.rules().kind != SubscriptionKind::KeyShared || history.was_sought() {
        return None;
    }
    let all = history.handed();
    let one = chance.pick(&all).filter(|one| one.what.attempt == 1)?;
    let offset = one.what.offset;
    let later = all.iter().filter(|other| other.what.key == one.what.key && other.what.offset > offset);
    let later = chance.pick(&later.cloned().collect::<Vec<_>>())?;
    let mut plain = |offset| history.sent(offset).is_some_and(|sent| sent.times.is_empty());
    (plain(offset) && plain(later.what.offset)).then_some((one, later))
}

pub(crate) fn reorder(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((one, later)) = neighbours(history, chance) else { return false };
    let of_one = history.handed().into_iter().filter(|other| other.what.offset == one.what.offset);
    let Some(asked) = of_one.map(|other| other.asked).min() else { return false };
    let epochs = one.what.epochs;
    history.hand(asked - 1_000, asked - 1, &one.consumer, Delivery { epochs, ..later.what });
    true
}

pub(crate) fn move_key(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((one, later)) = neighbours(history, chance) else { return false };
    let lasts = history.let_go(&one) > one.came + 3_000 && one.came + 3_000 < one.asked + 200_000_000;
    if lasts {
        let epochs = one.what.epochs;
        history.hand(one.came, one.came + 1_000, GHOST, Delivery { epochs, ..later.what });
    }
    lasts
}
