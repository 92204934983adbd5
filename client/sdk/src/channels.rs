//! Channels to nodes: one per address, bounded, dropped when a connection fails; and whom to ask next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::Error;
use crate::connector::Connector;

/// Nodes whose channel or address is kept. Twice a region's bound, so that a replaced fleet fits.
const ADDRESSES_MAX: usize = 128;
/// How long a node that failed is passed over while others are left.
const SUSPECT_FOR: Duration = Duration::from_secs(2);

/// The channels of one client, or of one reader: readers keep their own connections, so that a reader that
/// falls behind can never hold back the acks of a producer.
pub(crate) struct Channels {
    connector: Arc<dyn Connector>,
    attempt_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bootstrap: Vec<String>,
    learned: Vec<String>,
    open: BTreeMap<String, Channel>,
    suspects: BTreeMap<String, Instant>,
    turn: usize,
}

impl Channels {
    pub(crate) fn new(
        bootstrap: Vec<String>,
        connector: Arc<dyn Connector>,
        attempt_timeout: Duration,
    ) -> Self {
        let state = State { bootstrap, ..State::default() };
        Self { connector, attempt_timeout, state: Mutex::new(state) }
    }

    /// The same nodes, but connections of its own.
    pub(crate) fn separate(&self) -> Self {
        let state = self.state.lock();
        let (bootstrap, learned) = (state.bootstrap.clone(), state.learned.clone());
        let fresh = State { bootstrap, learned, turn: state.turn, ..State::default() };
        Self {
            connector: self.connector.clone(),
            attempt_timeout: self.attempt_timeout,
            state: Mutex::new(fresh),
        }
    }

    /// A channel to `address`. Cancellation safe.
    pub(crate) async fn get(&self, address: &str) -> Result<Channel, Error> {
        if let Some(channel) = self.state.lock().open.get(address) {
            return Ok(channel.clone());
        }
        let connecting = self.connector.connect(address.to_string());
        let why = match tokio::time::timeout(self.attempt_timeout, connecting).await {
            Ok(Ok(channel)) => {
                let mut state = self.state.lock();
                state.make_room();
                state.suspects.remove(address);
                state.open.insert(address.to_string(), channel.clone());
                return Ok(channel);
            }
            Ok(Err(error)) => innermost(&*error),
            Err(_) => "no answer in time".to_string(),
        };
        self.suspect(address);
        Err(Error::Connect { addresses: vec![address.to_string()], why })
    }

    /// The connection failed or hangs: make a new one next time, and ask others first for a while.
    pub(crate) fn suspect(&self, address: &str) {
        let mut state = self.state.lock();
        state.open.remove(address);
        if state.suspects.len() < ADDRESSES_MAX {
            state.suspects.insert(address.to_string(), Instant::now());
        }
    }

    /// Whether `address` failed lately.
    pub(crate) fn is_suspect(&self, address: &str) -> bool {
        self.state.lock().suspects.get(address).is_some_and(|since| since.elapsed() < SUSPECT_FOR)
    }

    /// The client addresses of the region's nodes, as a node told them.
    pub(crate) fn learn(&self, addresses: impl IntoIterator<Item = String>) {
        let mut state = self.state.lock();
        let learned: Vec<String> =
            addresses.into_iter().filter(|a| !a.is_empty()).take(ADDRESSES_MAX).collect();
        if !learned.is_empty() {
            state.learned = learned;
        }
    }

    /// Somebody to ask who did not fail lately, or, where all did, the next in turn.
    pub(crate) fn anyone(&self) -> String {
        let mut state = self.state.lock();
        let all = state.all();
        let Some(last) = all.len().checked_sub(1) else {
            return String::new();
        };
        for step in 0..=last {
            let address = &all[(state.turn + step) % all.len()];
            if state.suspects.get(address).is_none_or(|since| since.elapsed() >= SUSPECT_FOR) {
                state.turn = (state.turn + step) % all.len();
                return address.clone();
            }
        }
        state.turn = (state.turn + 1) % all.len();
        all[state.turn].clone()
    }

    /// Somebody else to ask, who did not fail lately if there is one.
    pub(crate) fn other_than(&self, address: &str) -> Option<String> {
        let state = self.state.lock();
        let failed =
            |other: &&String| state.suspects.get(*other).is_some_and(|since| since.elapsed() < SUSPECT_FOR);
        let all = state.all();
        all.iter().filter(|other| *other != address).min_by_key(failed).cloned()
    }

    /// Somebody else answered sooner: ask others first next time.
    pub(crate) fn turn_from(&self, address: &str) {
        let mut state = self.state.lock();
        let all = state.all();
        if all.get(state.turn % all.len().max(1)).is_some_and(|next| next == address) {
            state.turn = (state.turn + 1) % all.len();
        }
    }

    /// Ask somebody else next time.
    pub(crate) fn turn(&self) {
        let mut state = self.state.lock();
        state.turn = state.turn.wrapping_add(1) % state.all().len().max(1);
    }

    /// Everybody known, the bootstrap nodes first.
    pub(crate) fn all(&self) -> Vec<String> {
        self.state.lock().all()
    }
}

impl State {
    fn all(&self) -> Vec<String> {
        let learned = self.learned.iter().filter(|address| !self.bootstrap.contains(address));
        self.bootstrap.iter().chain(learned).cloned().collect()
    }

    /// At the bound one channel goes; whoever uses it keeps his clone.
    fn make_room(&mut self) {
        if self.open.len() >= ADDRESSES_MAX {
            self.open.pop_first();
        }
    }
}

/// The cause at the bottom: "connection refused" rather than "transport error".
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut bottom = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    bottom.to_string()
}
