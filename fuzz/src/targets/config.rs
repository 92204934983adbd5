//! The file of `serve`: what is accepted is written down and read again as the same, and what it says makes sense:
//! numbers begin at 1, silence outlasts two heartbeats, and every connection gets a window it can use.

use meridian_config::{Config, FounderConfig, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
use meridian_model::limits::{BATCH_BYTES_MAX, RPC_BYTES_MAX};
use meridian_model::name;

use super::{Met, room};
use crate::memory;

/// The input is the file.
pub(super) fn check(input: &[u8]) -> Met {
    let Ok(text) = std::str::from_utf8(input) else { return Met::Refused };
    let Ok(config) = memory::within(room(input, 1024), || toml::from_str::<Config>(text)) else {
        return Met::Refused;
    };
    let written = toml::to_string(&config).expect("what was read can be written");
    let again: Config = toml::from_str(&written).expect("what was written can be read");
    assert_eq!(toml::to_string(&again).as_deref(), Ok(written.as_str()));
    match config.check() {
        Ok(()) => assert_sense(&config),
        Err(refused) => {
            let refused = refused.to_string();
            let (key, why) = refused.split_once(": ").unwrap_or_default();
            assert!(key.contains('.') && !why.is_empty(), "{refused:?} does not name a key and say why");
            return Met::Refused;
        }
    }
    Met::Understood
}

fn assert_sense(config: &Config) {
    let mut ids: Vec<u64> = config.cluster.nodes.iter().map(|node| node.id).collect();
    ids.push(config.node.id);
    assert!(ids.len() > 1 && !ids.contains(&0));
    ids.pop();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), config.cluster.nodes.len(), "two nodes have one number");
    assert_eq!(name::check("cluster.name", &config.cluster.name), Ok(()));
    let timing = config.timing();
    assert!(timing.heartbeat_ms > 0 && (timing.election_ms_min - 1) / 2 >= timing.heartbeat_ms);
    assert!(timing.election_ms_max > timing.election_ms_min);
    assert!((1..=100).contains(&config.storage.watermark_percent));
    let limits = &config.limits;
    for window in [limits.client_window(), limits.raft_window()] {
        assert!((WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&(window as usize)), "{window}");
    }
    assert!((BATCH_BYTES_MAX..=u32::MAX as usize).contains(&limits.inflight_bytes));
    assert!((RPC_BYTES_MAX..=u32::MAX as usize).contains(&limits.receiving_bytes));
    assert!(limits.idle_ms_max > 0 && limits.keepalive_ms > 0 && limits.handshake_ms_max > 0);
}

const SHORT: &str = r#"
[node]
id = 1
data = "data"
[cluster]
name = "test"
nodes = [{ id = 1, client = "127.0.0.1:1", raft = "127.0.0.1:2" }]
[listen]
client = "127.0.0.1:0"
raft = "127.0.0.1:0"
"#;

/// The shortest file, one of three nodes that says everything, and those that need more to be said.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut three: Config = toml::from_str(SHORT).expect("a configuration");
    let founder = three.cluster.nodes[0].clone();
    three.cluster.nodes.extend([2, 3].map(|id| FounderConfig { id, ..founder.clone() }));
    let everything = toml::to_string(&three).expect("what was read can be written");
    let beyond = SHORT.replace("127.0.0.1:0", "0.0.0.0:0");
    let encrypted = format!(
        "{beyond}metrics = \"[::1]:9\"\nadmin = \"localhost:7\"\n\
         [tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\nclient_certificates = \"required\"\n\
         [log]\nformat = \"json\"\nlevel = \"info,meridian_raft=debug\"\n"
    );
    let trusted = format!("{beyond}plaintext_beyond_loopback = true\n[raft]\nheartbeat_ms = 20\n");
    let founder = "{ id = 1, client = \"127.0.0.1:1\", raft = \"127.0.0.1:2\" }";
    let brief = [1, 2, 3].map(|id| format!("{{ id = {id}, client = \"a\", raft = \"b\" }}")).join(", ");
    let brief = SHORT.replace(founder, &brief);
    vec![SHORT.into(), brief.into(), everything.into(), encrypted.into(), trusted.into()]
}
