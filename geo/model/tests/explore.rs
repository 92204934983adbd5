//! Every model is explored to its end; every planted fault is found on the way (GEO-1, GEO-2, GEO-3, GEO-4).

use std::fmt::Debug;
use std::hash::Hash;

use meridian_geo_model::acks::{self, Acks};
use meridian_geo_model::exploration::explore;
use meridian_geo_model::history::{self, History};
use meridian_geo_model::ingest::{self, Ingest};
use meridian_geo_model::route::{self, Route};
use stateright::Model;

/// Explores a model that is right: nothing is broken, and what should be possible is.
fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    let found = explore(model);
    println!("{name}: {} states, depth {}, {:.1} s", found.states, found.depth, found.seconds);
    assert!(found.broken.is_empty(), "{name}: {:#?}", found.broken);
    assert!(found.never.is_empty(), "{name}: never {:?}", found.never);
}

/// Explores a model with a fault: some property breaks, and the shortest way there is printed.
fn breaks<M, F: Debug>(name: &str, fault: F, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    let found = explore(model);
    let shortest = found.broken.iter().min_by_key(|(_, steps)| steps.len());
    let (property, steps) = shortest.unwrap_or_else(|| panic!("{name}: {fault:?} was not found"));
    println!("{name}: {fault:?} breaks \"{property}\" in {} steps: {}", steps.len(), steps.join(", "));
}

const INGEST: Ingest = Ingest { messages: 3, frame: 2, fault: None };
const HISTORY: History = History { messages: 3, made: 5, fault: None };
const ROUTE: Route = Route { messages: 3, epochs: 4, fault: None };
const ACKS: Acks = Acks { messages: 2, counters: 2, fault: None };

#[test]
fn ingest_stores_each_offset_once_and_says_what_it_skipped() {
    holds("ingest", INGEST);
    use ingest::Fault::*;
    for fault in [MaximumMeansDuplicate, DecidesAtProposal, ShipsUncommitted, SkipsSilently, NeverResyncs] {
        breaks("ingest", fault, Ingest { fault: Some(fault), ..INGEST });
    }
}

#[test]
fn an_origin_that_changed_its_past_is_never_continued() {
    holds("history", HISTORY);
    use history::Fault::*;
    for fault in [HeadNotCompared, RestoreShipsAgain, RestoreKeepsLog, RowBeginsAnywhere] {
        breaks("history", fault, History { fault: Some(fault), ..HISTORY });
    }
}

#[test]
fn a_route_changes_without_losing_what_omits_the_hop() {
    holds("route", ROUTE);
    use route::Fault::*;
    for fault in [StartsEarly, BarrierBeforeRule, RelaxesEarly, EpochNotCompared, PublishUnchecked] {
        breaks("route", fault, Route { fault: Some(fault), ..ROUTE });
    }
}

/// Why the epoch is compared although it need not be: so that a refusal can name what is wrong.
#[test]
fn an_older_frame_of_the_same_upstream_does_no_harm() {
    holds("route, upstream compared alone", Route { fault: Some(route::Fault::UpstreamOnly), ..ROUTE });
}

#[test]
fn acks_join_to_the_same_state_and_ack_nothing_else() {
    holds("acks", ACKS);
    use acks::Fault::*;
    for fault in [
        KeepsLowerSet,
        JoinsLowerEpoch,
        CounterOnly,
        AdoptsPart,
        ShipsSkipped,
        DropsEarlyAcks,
        DeleteForgets,
        PassiveAcks,
        CumulativeCoversSkips,
    ] {
        breaks("acks", fault, Acks { fault: Some(fault), ..ACKS });
    }
}
