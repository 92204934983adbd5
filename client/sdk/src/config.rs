//! What a client is told once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_model::{Clock, UnixMs};

use crate::connector::{Connector, TcpConnector};

/// How a client finds the cluster and how patient it is.
#[derive(Clone)]
pub struct ClientConfig {
    /// Nodes to begin with, `host:port` with or without `http://`. Any one that answers is enough.
    pub servers: Vec<String>,
    /// How long one call may take over all its attempts. Default 30 s.
    pub operation_timeout: Duration,
    /// How long a node may leave one attempt, or one batch, unanswered before it counts as gone. Default 5 s.
    pub attempt_timeout: Duration,
    /// Seed of everything random (request ids, jitter, sticky partitions). `None`: the operating system's.
    pub seed: Option<u64>,
    /// Makes channels. Default: TCP.
    pub connector: Arc<dyn Connector>,
    /// The wall clock, only for the informative publish time of a batch.
    pub clock: Arc<dyn Clock>,
}

impl ClientConfig {
    /// The defaults, with these nodes to begin with.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            operation_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(5),
            seed: None,
            connector: Arc::new(TcpConnector),
            clock: Arc::new(SystemClock),
        }
    }

    /// Another bound for one call over all its attempts.
    pub fn with_operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Another bound for one attempt.
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// The same randomness in every run.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Another network.
    pub fn with_connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Connections over TLS. Replaces the connector; addresses stay `host:port`.
    pub fn with_tls(self, tls: crate::ClientTls) -> Self {
        self.with_connector(tls)
    }

    /// Another wall clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("servers", &self.servers)
            .field("operation_timeout", &self.operation_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The operating system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(since.as_millis() as u64)
    }
}
