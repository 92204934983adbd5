//! Leaders that die, round after round, and how long their partitions are without an ack.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::board::Watched;
use super::publishing::{PRODUCERS, Publishing};
use super::region::Region;
use crate::Story;

/// How long publishers may be without an ack before a round ends all the same.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// How long a round is watched after its last partition is back: what comes back may go again.
const WATCHED_AFTER: Duration = Duration::from_millis(1_000);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A partition that is without an ack for longer is looked at: is it led, or do publishers not find its leader?
const LATE_AFTER: Duration = Duration::from_millis(2_000);
/// How long leaders must have stayed where they are before a death: longer than it takes nodes to look at them. A
/// leader that is about to hand over to the node that dies would measure something else.
const STILL_FOR: Duration = Duration::from_millis(1_500);

/// How a leader dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Death {
    /// `kill -9`: its connections are reset.
    Kill,
    /// Every packet to and from it is dropped: nobody is told.
    Silence,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    pub(super) node: u64,
    /// Partitions that it led.
    pub(super) affected: usize,
    /// From the death to the first ack of a message sent after it, in the partition that took longest; none: it
    /// took longer than the round.
    pub(super) last_ms: Option<f64>,
    pub(super) median_ms: Option<f64>,
    /// The longest time without an ack in the affected partitions, and in the others.
    pub(super) longest_ms: f64,
    pub(super) others_longest_ms: f64,
    /// What was late after two seconds, and why.
    pub(super) late: Option<Late>,
}

/// Partitions without an ack after two seconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Late {
    pub(super) partitions: usize,
    /// Of these, led by a node that lives: their publishers have not found it.
    pub(super) led: usize,
    /// How many of them each publisher has.
    pub(super) by_publisher: Vec<usize>,
}

/// All rounds of one kind.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rounds {
    pub(super) death: Death,
    pub(super) rounds: Vec<Round>,
    /// Errors that publishers saw.
    pub(super) errors: u64,
}

pub(super) async fn run(
    region: &Region,
    story: &Story,
    death: Death,
    count: u32,
    every_ms: u64,
) -> Result<Rounds> {
    story.say(format!("{death:?}, {count} rounds: a message to each partition every {every_ms} ms"));
    let publishing = Publishing::start(region, every_ms).await?;
    let mut rounds = Vec::new();
    for number in 1..=count {
        let led = region.steady(STILL_FOR).await?;
        let round = one(region, &publishing, &led, death).await?;
        let last = round.last_ms.map_or("not back in time".into(), |ms| format!("{ms:.0} ms"));
        let median = round.median_ms.unwrap_or(f64::NAN);
        story.say(format!(
            "  {number} of {count}: node {} led {}; back after {last} (median {median:.0} ms), \
             longest pause elsewhere {:.0} ms",
            round.node, round.affected, round.others_longest_ms
        ));
        if let Some(Late { partitions, led, by_publisher }) = &round.late {
            story.say(format!(
                "    after 2 s {partitions} were late, {led} of them led by a node that lives, by publisher {by_publisher:?}"
            ));
        }
        rounds.push(round);
    }
    Ok(Rounds { death, rounds, errors: publishing.board.errors() })
}

async fn one(
    region: &Region,
    publishing: &Publishing,
    led: &BTreeMap<u64, Vec<u32>>,
    death: Death,
) -> Result<Round> {
    let (node, affected) = led.iter().max_by_key(|(_, led)| led.len()).context("nobody leads")?;
    let others: Vec<u32> =
        led.iter().filter(|(other, _)| *other != node).flat_map(|(_, led)| led).copied().collect();
    let board = &publishing.board;
    let fault = Instant::now();
    board.begin(region.partitions, fault);
    tokio::task::block_in_place(|| match death {
        Death::Kill => region.cluster.node(*node)?.kill(),
        Death::Silence => region.cluster.network().silence(*node),
    })?;
    board.installed();
    let mut late = None;
    while fault.elapsed() < RETURN_MAX && board.look(affected).iter().any(|seen| seen.resumed.is_none()) {
        if late.is_none() && fault.elapsed() > LATE_AFTER {
            late = Some(look_at_late(region, publishing, affected, *node).await?);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(WATCHED_AFTER).await;
    let (seen, seen_elsewhere) = (board.look(affected), board.look(&others));
    if death == Death::Silence {
        let dropped = region.cluster.network().dropped()?;
        let silent = dropped.iter().any(|(of, packets)| of == node && *packets > 0);
        ensure!(silent, "node {node} was never silent: {dropped:?}");
    }
    match death {
        Death::Kill => drop(region.cluster.start_node(*node).await?),
        Death::Silence => tokio::task::block_in_place(|| region.cluster.network().cut(&[]))?,
    }
    let mut back: Vec<f64> = seen.iter().filter_map(|seen| seen.resumed).map(millis).collect();
    back.sort_by(f64::total_cmp);
    let all = back.len() == affected.len();
    Ok(Round {
        node: *node,
        affected: affected.len(),
        last_ms: back.last().copied().filter(|_| all),
        median_ms: back.get(back.len() / 2).copied(),
        longest_ms: longest(&seen),
        others_longest_ms: longest(&seen_elsewhere),
        late,
    })
}

async fn look_at_late(region: &Region, publishing: &Publishing, affected: &[u32], dead: u64) -> Result<Late> {
    let seen = publishing.board.look(affected);
    let late: Vec<u32> = affected
        .iter()
        .zip(seen)
        .filter(|(_, seen)| seen.resumed.is_none())
        .map(|(number, _)| *number)
        .collect();
    let mut by_publisher = vec![0; PRODUCERS as usize];
    late.iter().for_each(|partition| by_publisher[(partition % PRODUCERS) as usize] += 1);
    let led = region.led().await?;
    let led = led.iter().filter(|(node, _)| **node != dead).flat_map(|(_, led)| led);
    let led = led.filter(|partition| late.contains(partition)).count();
    Ok(Late { partitions: late.len(), led, by_publisher })
}

fn longest(seen: &[Watched]) -> f64 {
    seen.iter().map(|seen| millis(seen.longest)).fold(0.0, f64::max)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Rounds {
    /// The rounds whose last partition was back within this time.
    pub(super) fn within(&self, limit: Duration) -> usize {
        let limit = millis(limit);
        self.rounds.iter().filter(|round| round.last_ms.is_some_and(|ms| ms <= limit)).count()
    }

    /// The `percent` of rounds, by nearest rank, were over after so many milliseconds. NaN: never.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut all: Vec<f64> =
            self.rounds.iter().map(|round| round.last_ms.unwrap_or(f64::INFINITY)).collect();
        all.sort_by(f64::total_cmp);
        let rank = (all.len() * percent).div_ceil(100).max(1);
        all.get(rank - 1).copied().filter(|ms| ms.is_finite()).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_never_ended_is_counted_against_its_percentile() {
        let round = |last_ms| Round {
            node: 1,
            affected: 1,
            last_ms,
            median_ms: last_ms,
            longest_ms: 0.0,
            others_longest_ms: 0.0,
            late: None,
        };
        let mut rounds: Vec<Round> = (1..=49).map(|n| round(Some(f64::from(n) * 10.0))).collect();
        rounds.push(round(None));
        let rounds = Rounds { death: Death::Kill, rounds, errors: 0 };
        assert_eq!(rounds.within(Duration::from_secs(2)), 49);
        assert_eq!(rounds.percentile(50), 250.0);
        assert_eq!(rounds.percentile(98), 490.0);
        assert!(rounds.percentile(100).is_nan());
    }
}
