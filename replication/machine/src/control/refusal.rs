//! Why the control group refuses a change.

use meridian_model::NameError;
use serde::{Deserialize, Serialize};

/// A definite refusal: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ControlRefusal {
    /// There is no such thing.
    #[error("{resource} does not exist")]
    NotFound {
        /// Its resource name.
        resource: String,
    },
    /// It is there already.
    #[error("{resource} exists already")]
    AlreadyExists {
        /// Its resource name.
        resource: String,
    },
    /// A field can never be accepted like this.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the API spells it.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The state does not allow it now: another version, being deleted, not empty.
    #[error("{why}")]
    Conflict {
        /// What is in the way.
        why: String,
    },
    /// The region holds as many as it may.
    #[error("{what}: the most is {max}")]
    Limit {
        /// Of what.
        what: String,
        /// The bound.
        max: u64,
    },
    /// Each copy of a partition needs a node of its own.
    #[error("{need} copies need as many nodes, {have} are too few: add nodes first, or ask for fewer copies")]
    NotEnoughNodes {
        /// Copies asked for.
        need: u32,
        /// Nodes there are.
        have: u32,
    },
    /// The cluster has not been formed.
    #[error("the cluster has not been formed")]
    NotFormed,
    /// Nobody else would be left to lead.
    #[error("nobody else could lead {what}: first undo the drain of another node, or add nodes")]
    LastToLead {
        /// What, such as a partition.
        what: String,
    },
}

impl ControlRefusal {
    /// The reason as published in `ErrorInfo.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            ControlRefusal::NotFound { .. } => "NOT_FOUND",
            ControlRefusal::AlreadyExists { .. } => "ALREADY_EXISTS",
            ControlRefusal::Invalid { .. } => "INVALID_ARGUMENT",
            ControlRefusal::Conflict { .. } => "CONFLICT",
            ControlRefusal::Limit { .. } => "LIMIT",
            ControlRefusal::NotEnoughNodes { .. } | ControlRefusal::LastToLead { .. } => "NOT_ENOUGH_NODES",
            ControlRefusal::NotFormed => "NOT_FORMED",
        }
    }

    pub(super) fn not_found(resource: impl Into<String>) -> Self {
        ControlRefusal::NotFound { resource: resource.into() }
    }

    pub(super) fn already_exists(resource: impl Into<String>) -> Self {
        ControlRefusal::AlreadyExists { resource: resource.into() }
    }

    pub(super) fn invalid(field: &str, why: impl Into<String>) -> Self {
        ControlRefusal::Invalid { field: field.into(), why: why.into() }
    }

    pub(super) fn conflict(why: impl Into<String>) -> Self {
        ControlRefusal::Conflict { why: why.into() }
    }

    /// Refuses one more of `what` where there are `have` already.
    pub(super) fn at_limit(what: &str, have: usize, max: usize) -> Result<(), Self> {
        if have < max { Ok(()) } else { Err(ControlRefusal::Limit { what: what.into(), max: max as u64 }) }
    }
}

impl From<NameError> for ControlRefusal {
    fn from(error: NameError) -> Self {
        let field = match &error {
            NameError::Empty { field }
            | NameError::TooLong { field, .. }
            | NameError::Character { field, .. } => *field,
            NameError::Shape { .. } => "topic",
        };
        ControlRefusal::invalid(field, error.to_string())
    }
}
