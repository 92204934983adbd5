//! What a partition waits for on behalf of its dispatchers.

use std::time::Duration;

use futures::future::BoxFuture;
use meridian_commitlog::{ConsumerId, CursorError, DelayedPage, ReadError, Settled, Standing, StoredBatch};
use meridian_deliver::subscription::{FetchId, Token};
use meridian_model::{Offset, SubscriptionId};

/// How long a beginning or a seek that failed waits before it is tried again.
pub(crate) const AGAIN: Duration = Duration::from_millis(100);

/// For which life of a dispatcher something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct For {
    pub(crate) subscription: SubscriptionId,
    pub(crate) life: u64,
}

/// What was done, and what came of it.
pub(crate) enum Done {
    Begun(Result<Standing, CursorError>),
    Fetched(FetchId, Result<Vec<StoredBatch>, ReadError>),
    Due(FetchId, Result<DelayedPage, CursorError>),
    Settled(Token, Result<Settled, CursorError>),
    Owned(Token, Result<u64, CursorError>),
    /// The place that a consumer wants to go on at is found.
    Found { consumer: ConsumerId, request: u64, place: Result<Offset, ReadError> },
    Sought(Offset, Result<Standing, CursorError>),
}

/// Something under way.
pub(crate) type Work = BoxFuture<'static, (For, Done)>;
