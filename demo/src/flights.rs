//! The flights: a real input, in the order of the file.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use meridian_checker::Record;
use serde::Deserialize;

/// One line of the file.
pub(crate) struct Flight {
    /// Its line, from 1: what tells it from every other.
    pub(crate) number: usize,
    /// Where it took off: the key.
    pub(crate) origin: String,
    /// The line itself.
    pub(crate) line: String,
}

#[derive(Deserialize)]
struct Origin {
    origin: String,
}

/// Reads the file.
pub(crate) fn load(path: &Path) -> Result<Vec<Flight>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let flights: Result<Vec<Flight>> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let number = at + 1;
            let origin: Origin = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
            Ok(Flight { number, origin: origin.origin, line: line.to_string() })
        })
        .collect();
    let flights = flights?;
    if flights.is_empty() {
        bail!("{} holds no flights", path.display());
    }
    Ok(flights)
}

/// How many airports there are.
pub(crate) fn keys(flights: &[Flight]) -> usize {
    flights.iter().map(|flight| flight.origin.as_str()).collect::<BTreeSet<_>>().len()
}

/// What the checks expect, in order.
pub(crate) fn records(flights: &[Flight]) -> Vec<Record> {
    flights.iter().map(|flight| Record::new(flight.number.to_string(), flight.origin.clone())).collect()
}
