//! The three sorts of line a history file has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::op::Op;

/// Name of the schema, in every header.
pub const SCHEMA: &str = "meridian-history";

/// Version of the schema this crate writes. Version 2 added what clients of subscriptions do.
pub const SCHEMA_VERSION: u32 = 2;

/// The oldest version this crate reads: each version only adds to the one before it.
pub const SCHEMA_VERSION_MIN: u32 = 1;

/// The first line: what this file is and how its run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of the schema.
    pub version: u32,
    /// Seed of the run, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Every option of the run, those derived from the seed included.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Header {
    /// A header of this version.
    pub fn new(seed: Option<u64>) -> Self {
        Self { schema: SCHEMA.to_owned(), version: SCHEMA_VERSION, seed, options: BTreeMap::new() }
    }

    /// The same header with one more option.
    #[must_use]
    pub fn with_option(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.options.insert(name.into(), value.to_string());
        self
    }
}

impl Default for Header {
    fn default() -> Self {
        Self::new(None)
    }
}

/// The last line: proof that nothing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Operations in the file.
    pub ops: u64,
}

/// Any line, for reading.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Header(Header),
    Op(Op),
    End(End),
}

/// Any line, for writing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineRef<'a> {
    Header(&'a Header),
    Op(&'a Op),
    End(End),
}
