//! Faults in the server itself, for runs that must fail.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A fault in the server itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plant {
    /// None.
    #[default]
    None,
    /// Every disk says that it has synced and has not.
    LyingDisks,
    /// The linearizable end is answered by any replica from what it has applied, without asking a quorum.
    UnconfirmedEnd,
    /// A fault in the partition machine.
    #[cfg(feature = "mutants")]
    Machine(meridian_machine::Mutant),
}

impl Plant {
    /// Everything that can be planted.
    pub fn all() -> Vec<Plant> {
        let all = [Self::None, Self::LyingDisks, Self::UnconfirmedEnd].into_iter();
        #[cfg(feature = "mutants")]
        let all = all.chain(meridian_machine::Mutant::ALL.into_iter().map(Self::Machine));
        all.collect()
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::LyingDisks => f.pad("lying-disks"),
            Self::UnconfirmedEnd => f.pad("unconfirmed-end"),
            #[cfg(feature = "mutants")]
            Self::Machine(mutant) => f.pad(&format!("{mutant:?}")),
        }
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::all().into_iter().find(|plant| plant.to_string() == text);
        found.ok_or_else(|| {
            let known: Vec<String> = Self::all().iter().map(ToString::to_string).collect();
            format!("nothing to plant is called {text:?}; there are {}", known.join(", "))
        })
    }
}

impl Serialize for Plant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Plant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
