//! The machine's words in those of the port: one by one, nothing is added and nothing is left out.

use meridian_commitlog::{CursorBound, CursorRefusal, Standing};
use meridian_machine::PartitionMachine;
use meridian_machine::partition::{SubscriptionBound, SubscriptionRefusal, SubscriptionView};
use meridian_model::subscription::DelayedRange;

pub(super) fn standing(
    view: &SubscriptionView<'_>,
    machine: &PartitionMachine,
    outbox_room: usize,
) -> Standing {
    let delayed_settled = view
        .delayed_settled()
        .flat_map(|(deliver_at, set)| set.iter().map(move |range| DelayedRange { deliver_at, range }));
    Standing {
        subscription: view.id(),
        rules: view.rules().clone(),
        dispatch_epoch: machine.dispatch_epoch(),
        owner: view.owner(),
        owner_epoch: view.owner_epoch(),
        seek_epoch: view.seek_epoch(),
        floor: view.floor(),
        settled: view.settled().iter().collect(),
        delayed_from: view.delayed_from(),
        delayed_floor: view.delayed_floor(),
        delayed_settled: delayed_settled.collect(),
        attempts: view.attempts().collect(),
        outbox_room,
        destinations: view.outbox().map(|(destination, _)| destination).collect(),
        stamp: machine.last_stamp(),
    }
}

pub(super) fn refusal(refusal: SubscriptionRefusal) -> CursorRefusal {
    use SubscriptionRefusal as Theirs;
    match refusal {
        Theirs::Unknown => CursorRefusal::Unknown,
        Theirs::StaleControl { current } => CursorRefusal::StaleControl { current },
        Theirs::StaleSeek { current } => CursorRefusal::StaleSeek { current },
        Theirs::StaleOwner { current } => CursorRefusal::StaleOwner { current },
        Theirs::NotOwned => CursorRefusal::NotOwned,
        Theirs::BeyondEnd { end } => CursorRefusal::BeyondEnd { end },
        Theirs::NotDue { deliver_at } => CursorRefusal::NotDue { deliver_at },
        Theirs::NotDelayed => CursorRefusal::NotDelayed,
        Theirs::NotLastAttempt { count } => CursorRefusal::NotLastAttempt { count },
        Theirs::FloorPassesAttempt => CursorRefusal::FloorPassesAttempt,
        Theirs::WrongRank { least, most } => CursorRefusal::WrongRank { least, most },
        Theirs::NeverSent => CursorRefusal::NeverSent,
        Theirs::Sealed => CursorRefusal::Sealed,
        Theirs::Bound(bound) => CursorRefusal::Bound(match bound {
            SubscriptionBound::Subscriptions => CursorBound::Subscriptions,
            SubscriptionBound::SettledRanges => CursorBound::SettledRanges,
            SubscriptionBound::SettledDelayed => CursorBound::SettledDelayed,
            SubscriptionBound::Attempts => CursorBound::Attempts,
            SubscriptionBound::DeadLetters => CursorBound::DeadLetters,
            SubscriptionBound::Destinations => CursorBound::Destinations,
            SubscriptionBound::Parts => CursorBound::Parts,
            SubscriptionBound::Items => CursorBound::Items,
        }),
    }
}
