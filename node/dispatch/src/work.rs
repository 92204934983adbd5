//! What a partition waits for on behalf of its dispatchers.

use std::time::Duration;

use futures::future::BoxFuture;
use meridian_commitlog::{
    CursorError, CursorRefusal, DelayedPage, ReadError, SeekTo, Settled, Standing, StoredBatch,
};
use meridian_deliver::subscription::{FetchId, Token};
use meridian_model::{ConsumerId, Offset, SubscriptionId};

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
    /// A new dispatch of the partition, for a dispatcher that asked with a token, or that is to begin.
    Begun(For, Option<Token>, Result<u64, CursorError>),
    Fetched(For, FetchId, Result<Vec<StoredBatch>, ReadError>),
    Due(For, FetchId, Result<DelayedPage, CursorError>),
    /// One round, for all that had something to settle.
    Settled(Vec<(For, Token)>, Result<Vec<Result<Settled, CursorRefusal>>, CursorError>),
    Owned(For, Token, Result<u64, CursorError>),
    /// The place that a consumer wants to go on at is found.
    Found(For, Asked, Result<Offset, ReadError>),
    Sought(For, Asked, SeekTo, Result<Box<Standing>, CursorError>),
}

/// Who asked for something, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) consumer: ConsumerId,
    pub(crate) request: u64,
}

/// Something under way.
pub(crate) type Work = BoxFuture<'static, Done>;
