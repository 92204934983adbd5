//! A seeded series of faults, one after the other, each healed before the next.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Faults;
use super::partition::{bridge, isolate, isolate_from_all, one_way};
use crate::chance::Chance;
use crate::net::Cut;

/// A kind of fault that can be planned by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL and restart.
    Kill,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// SIGSTOP, then SIGKILL, then restart.
    PauseKill,
    /// Links cut in one of several shapes.
    Partition,
    /// The disk's power cut.
    Power,
    /// The power of all disks cut at once.
    PowerAll,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Pause, Self::PauseKill, Self::Partition, Self::Power, Self::PowerAll];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::PauseKill => "pause-kill",
            Self::Partition => "partition",
            Self::Power => "power",
            Self::PowerAll => "power-all",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("no fault {text:?}; there are {}", known.join(", "))
        })
    }
}

/// Puts faults in and takes them out until told to stop.
#[derive(Debug)]
pub struct Nemesis<'a> {
    faults: &'a Faults,
    ids: Vec<u64>,
    chance: Chance,
    /// The shortest and longest time a fault stays.
    hold_ms: (u64, u64),
}

impl<'a> Nemesis<'a> {
    /// A nemesis with choices of its own.
    pub fn new(faults: &'a Faults, chance: Chance) -> Self {
        Self { faults, ids: faults.cluster.ids(), chance, hold_ms: (200, 2_500) }
    }

    /// The same, with faults that stay for this long.
    #[must_use]
    pub fn holding(mut self, shortest_ms: u64, longest_ms: u64) -> Self {
        self.hold_ms = (shortest_ms, longest_ms);
        self
    }

    /// Faults of these kinds until the time is up; each kind at least once, all healed at the end.
    ///
    /// # Errors
    /// The first fault that could not be put in or taken out.
    pub async fn run(&mut self, kinds: &[Kind], lasting: Duration) -> Result<u64> {
        let begun = Instant::now();
        let mut planned = 0;
        let mut due: Vec<Kind> = kinds.to_vec();
        while !due.is_empty() || begun.elapsed() < lasting {
            if kinds.is_empty() {
                tokio::time::sleep(lasting.saturating_sub(begun.elapsed())).await;
                break;
            }
            let kind = due.pop().unwrap_or_else(|| self.chance.pick(kinds));
            self.once(kind).await?;
            planned += 1;
            self.calm().await;
        }
        Ok(planned)
    }

    /// One fault, put in, held, and taken out.
    ///
    /// # Errors
    /// If either fails.
    pub async fn once(&mut self, kind: Kind) -> Result<()> {
        let victim = self.chance.pick(&self.ids);
        let faults = self.faults;
        match kind {
            Kind::Kill => {
                faults.kill(victim)?;
                self.hold().await;
                faults.restart("kill", victim).await.map(drop)
            }
            Kind::Pause => {
                faults.pause(victim)?;
                self.hold().await;
                faults.resume(victim).map(drop)
            }
            Kind::PauseKill => {
                faults.pause(victim)?;
                self.hold().await;
                faults.kill(victim)?;
                faults.resume(victim)?;
                faults.restart("kill", victim).await.map(drop)
            }
            Kind::Partition => {
                let (name, cuts) = self.shape(victim);
                faults.partition(name, &cuts).await?;
                self.hold().await;
                faults.mend(name).map(drop)
            }
            Kind::Power => self.power(&[victim]).await,
            Kind::PowerAll => self.power(&self.ids.clone()).await,
        }
    }

    async fn power(&mut self, ids: &[u64]) -> Result<()> {
        self.faults.cut_power(ids)?;
        self.hold().await;
        self.faults.restore_power(ids).await
    }

    fn shape(&mut self, victim: u64) -> (&'static str, Vec<Cut>) {
        match self.chance.between(0, 4) {
            0 => ("partition-one", isolate(victim, &self.ids)),
            1 => ("partition-one-and-clients", isolate_from_all(victim, &self.ids)),
            2 => ("partition-deaf", one_way(victim, &self.ids, false)),
            3 => ("partition-mute", one_way(victim, &self.ids, true)),
            _ => ("partition-bridge", bridge(victim, &self.ids)),
        }
    }

    /// A fault lasts a while; how long is part of the schedule, not a guess at what somebody else needs.
    async fn hold(&mut self) {
        let ms = self.chance.between(self.hold_ms.0, self.hold_ms.1);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn calm(&mut self) {
        let ms = self.chance.between(300, 1_500);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
