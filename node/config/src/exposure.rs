//! Who may read along: plaintext stays on this machine unless told otherwise in plain words.

use std::net::IpAddr;

use super::{Config, ConfigError};

/// Whether `host:port` is of this machine alone. A name other than `localhost` may lead anywhere.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Refuses plaintext on a listener that others reach. The metrics listener never has TLS, so it counts whether
/// or not the others do.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let listen = &config.listen;
    if listen.plaintext_beyond_loopback {
        return Ok(());
    }
    let spoken = [
        ("listen.client", Some(&listen.client)),
        ("listen.raft", Some(&listen.raft)),
        ("listen.admin", listen.admin.as_ref()),
    ];
    let plain = spoken.into_iter().filter(|_| config.tls.is_none());
    let all = plain.chain([("listen.metrics", listen.metrics.as_ref())]);
    for (field, address) in all {
        let Some(address) = address.filter(|address| !is_loopback(address)) else { continue };
        let way = match field {
            "listen.metrics" => "metrics are served without TLS: listen on loopback and scrape from there",
            _ => {
                "set up TLS: `meridian certificates` makes certificates, and `[tls]` with `certificate`, `key` \
                 and `ca` names them"
            }
        };
        let why = format!(
            "{address} can be reached from other machines, and what is said there would not be encrypted. \
             Either {way}, or say `plaintext_beyond_loopback = true` under `[listen]` if you trust the network"
        );
        return Err(ConfigError::Value { field, why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for here in ["127.0.0.1:1", "127.9.8.7:1", "localhost:1", "[::1]:1"] {
            assert!(is_loopback(here), "{here}");
        }
        for beyond in ["0.0.0.0:1", "10.1.2.3:1", "[::]:1", "m1.example:1", "localhost.example:1"] {
            assert!(!is_loopback(beyond), "{beyond}");
        }
    }
}
