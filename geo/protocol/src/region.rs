//! Regions by name, sets of them, and what a batch says about where it may go.

use std::collections::BTreeSet;
use std::fmt;

use meridian_model::limits;

use crate::wire::{OutOfBytes, Reader};

/// A region's name: up to [`limits::NAME_BYTES_MAX`] letters, digits, `-`, `_` and `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// `None` where the text is no name.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= limits::NAME_BYTES_MAX;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (fits && plain).then(|| Self(name.to_string()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8);
        out.extend_from_slice(self.0.as_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        let length = usize::from(reader.u8()?);
        let name = std::str::from_utf8(reader.bytes(length)?).map_err(|_| OutOfBytes)?;
        Self::parse(name).ok_or(OutOfBytes)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.0)
    }
}

/// Where something is meant to be, or may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegionSet {
    /// In every region.
    #[default]
    Everywhere,
    /// In these, at most [`limits::REGIONS_MAX`].
    Only(BTreeSet<Region>),
}

impl RegionSet {
    /// Of these regions alone.
    pub fn only<'a>(regions: impl IntoIterator<Item = &'a Region>) -> Self {
        Self::Only(regions.into_iter().cloned().collect())
    }

    /// Whether it has a region.
    pub fn contains(&self, region: &Region) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Only(regions) => regions.contains(region),
        }
    }

    /// Whether its bounds hold, so that it can be encoded.
    pub(crate) fn fits(&self) -> bool {
        matches!(self, Self::Everywhere) || self.count() <= limits::REGIONS_MAX
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Everywhere => 1,
            Self::Only(regions) => 1 + regions.iter().map(|region| 1 + region.0.len()).sum::<usize>(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Everywhere => 0,
            Self::Only(regions) => regions.len(),
        }
    }

    /// A count, `u8::MAX` for everywhere, then the names in order.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Everywhere => out.push(u8::MAX),
            Self::Only(regions) => {
                out.push(regions.len() as u8);
                regions.iter().for_each(|region| region.encode(out));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        let count = match reader.u8()? {
            u8::MAX => return Ok(Self::Everywhere),
            count if usize::from(count) > limits::REGIONS_MAX => return Err(OutOfBytes),
            count => count,
        };
        let mut regions = BTreeSet::new();
        for _ in 0..count {
            let region = Region::decode(reader)?;
            // One order only: equal sets have equal bytes.
            if regions.last().is_some_and(|last| *last >= region) {
                return Err(OutOfBytes);
            }
            regions.insert(region);
        }
        Ok(Self::Only(regions))
    }
}

/// What the origin stamped on a batch when it applied it. Final: later changes of a policy do not touch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// For whom it is meant: the batch's own set, or what the namespace said.
    pub regions: RegionSet,
    /// Where its residency lets it be.
    pub allowed: RegionSet,
}
