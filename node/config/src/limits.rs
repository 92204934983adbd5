//! `[limits]`: bounds on load, and the arithmetic that keeps them within memory.

use meridian_model::limits::{BATCH_BYTES_MAX, RPC_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::ConfigError;

const MIB: usize = 1024 * 1024;
/// What a connection may have unread at least: below, every large batch would stall on the way.
pub const WINDOW_BYTES_MIN: usize = 64 * 1024;
/// What it may have unread at most, however few connections there may be.
pub const WINDOW_BYTES_MAX: usize = 16 * MIB;

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes of batches in flight on this node.
    pub inflight_bytes: usize,
    /// Bytes of batches that a client is told it may leave unanswered on one publish stream.
    pub stream_credit_bytes: u64,
    /// Bytes of requests that clients have begun to send and that are not admitted yet, of all connections
    /// together. Taken before anything is decoded.
    pub receiving_bytes: usize,
    /// Bytes of pages that readers have been given and not taken yet, of all readers together.
    pub reading_bytes: usize,
    /// Requests of clients under way at once, streams included, of all connections together.
    pub requests_max: usize,
    /// Requests under way at once on one connection, of any listener.
    pub streams_per_connection_max: u32,
    /// How long a call may take until its answer begins, in milliseconds, and a message of a client from its first
    /// byte to its last. Streams may last.
    pub request_ms_max: u64,
    /// Connections to the client listener.
    pub client_connections_max: usize,
    /// The same from one remote address.
    pub client_connections_per_address_max: usize,
    /// Bytes that arrived and nobody read yet, of all connections to the client listener together: each gets its
    /// share as its HTTP/2 window.
    pub client_window_bytes: usize,
    /// Connections to the raft listener. Clients never take one of these.
    pub raft_connections_max: usize,
    /// The same from one remote address.
    pub raft_connections_per_address_max: usize,
    /// As `client_window_bytes`, for the raft listener.
    pub raft_window_bytes: usize,
    /// Connections to the admin listener, where there is one.
    pub admin_connections_max: usize,
    /// Time from accepting a connection to its first complete HTTP/2 preface, TLS included, in milliseconds.
    pub handshake_ms_max: u64,
    /// How long a connection of a client may have no request under way, in milliseconds.
    pub idle_ms_max: u64,
    /// Time between pings of this node to whoever is connected, and how long the answer may take, in milliseconds.
    pub keepalive_ms: u64,
    /// PING, SETTINGS and other frames that carry nothing, from one connection within a second.
    pub control_frames_per_second_max: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            inflight_bytes: 256 * MIB,
            stream_credit_bytes: 32 * MIB as u64,
            receiving_bytes: 128 * MIB,
            reading_bytes: 256 * MIB,
            requests_max: 16_384,
            streams_per_connection_max: 1_024,
            request_ms_max: 60_000,
            client_connections_max: 512,
            client_connections_per_address_max: 256,
            client_window_bytes: 512 * MIB,
            raft_connections_max: 256,
            raft_connections_per_address_max: 64,
            raft_window_bytes: 1024 * MIB,
            admin_connections_max: 64,
            handshake_ms_max: 5_000,
            idle_ms_max: 300_000,
            keepalive_ms: 10_000,
            control_frames_per_second_max: 200,
        }
    }
}

/// The share of one of `connections` in `bytes`.
fn window(bytes: usize, connections: usize) -> u32 {
    (bytes / connections.max(1)).min(WINDOW_BYTES_MAX) as u32
}

impl LimitsConfig {
    /// What a connection of a client may have unread, in bytes. Times the connections it is within
    /// `client_window_bytes`.
    pub fn client_window(&self) -> u32 {
        window(self.client_window_bytes, self.client_connections_max)
    }

    /// The same for a connection of a node.
    pub fn raft_window(&self) -> u32 {
        window(self.raft_window_bytes, self.raft_connections_max)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, why: &str| Err(ConfigError::Value { field, why: why.into() });
        for (field, value) in [
            ("limits.requests_max", self.requests_max),
            ("limits.streams_per_connection_max", self.streams_per_connection_max as usize),
            ("limits.request_ms_max", self.request_ms_max as usize),
            ("limits.client_connections_max", self.client_connections_max),
            ("limits.client_connections_per_address_max", self.client_connections_per_address_max),
            ("limits.raft_connections_max", self.raft_connections_max),
            ("limits.raft_connections_per_address_max", self.raft_connections_per_address_max),
            ("limits.admin_connections_max", self.admin_connections_max),
            ("limits.handshake_ms_max", self.handshake_ms_max as usize),
            ("limits.idle_ms_max", self.idle_ms_max as usize),
            ("limits.keepalive_ms", self.keepalive_ms as usize),
            ("limits.control_frames_per_second_max", self.control_frames_per_second_max as usize),
        ] {
            if value == 0 {
                return wrong(field, "must be more than nothing");
            }
        }
        if self.inflight_bytes < BATCH_BYTES_MAX || self.inflight_bytes > u32::MAX as usize {
            return wrong("limits.inflight_bytes", "must hold the largest batch, 2 MiB, and be below 4 GiB");
        }
        if self.receiving_bytes < RPC_BYTES_MAX || self.receiving_bytes > u32::MAX as usize {
            return wrong(
                "limits.receiving_bytes",
                "must hold the largest request, 8 MiB, and be below 4 GiB",
            );
        }
        if self.reading_bytes < RPC_BYTES_MAX || self.reading_bytes > u32::MAX as usize {
            return wrong("limits.reading_bytes", "must hold the largest answer, 8 MiB, and be below 4 GiB");
        }
        let least = "gives each connection less than 64 KiB: raise it, or allow fewer connections";
        if (self.client_window() as usize) < WINDOW_BYTES_MIN {
            return wrong("limits.client_window_bytes", least);
        }
        if (self.raft_window() as usize) < WINDOW_BYTES_MIN {
            return wrong("limits.raft_window_bytes", least);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_together_stay_within_their_bytes() {
        for connections in [1, 7, 512, 8_000] {
            let limits = LimitsConfig { client_connections_max: connections, ..Default::default() };
            limits.check().expect("makes sense");
            assert!(limits.client_window() as usize * connections <= limits.client_window_bytes);
        }
        let crowded = LimitsConfig { client_connections_max: 10_000, ..Default::default() };
        let refused = crowded.check().expect_err("too little for each").to_string();
        assert!(refused.starts_with("limits.client_window_bytes"), "{refused}");
    }

    #[test]
    fn a_bound_of_nothing_is_refused_by_its_key() {
        let none = LimitsConfig { idle_ms_max: 0, ..Default::default() };
        assert!(none.check().expect_err("refused").to_string().starts_with("limits.idle_ms_max"));
        let small = LimitsConfig { receiving_bytes: 1, ..Default::default() };
        assert!(small.check().expect_err("refused").to_string().starts_with("limits.receiving_bytes"));
    }
}
