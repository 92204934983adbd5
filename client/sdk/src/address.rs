//! Addresses as users write them: `host:port`, or with `http://` before it.

use crate::Error;

/// `host:port` from `host:port`, `http://host:port` or `http://host:port/`.
pub(crate) fn parse(address: &str) -> Result<String, Error> {
    let wrong = |why: &str| Error::invalid("server", format!("{address:?} {why}; write host:port"));
    let trimmed = address.trim();
    if trimmed.starts_with("https://") {
        return Err(wrong("asks for TLS, which this client does not speak"));
    }
    let bare = trimmed.strip_prefix("http://").unwrap_or(trimmed).trim_end_matches('/');
    let Some((host, port)) = bare.rsplit_once(':') else {
        return Err(wrong("has no port"));
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err(wrong("has no valid host"));
    }
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(wrong("has no valid port"));
    }
    Ok(bare.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        for spelling in ["node-1:7171", "http://node-1:7171", "http://node-1:7171/", " node-1:7171 "] {
            assert_eq!(parse(spelling).expect("a good address"), "node-1:7171");
        }
        assert_eq!(parse("[::1]:7171").expect("IPv6"), "[::1]:7171");
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for bad in ["node-1", ":7171", "node-1:port", "node-1:0", "https://node-1:7171", "a/b:1", ""] {
            let error = parse(bad).expect_err(bad);
            assert!(error.to_string().contains("host:port"), "{error}");
        }
    }
}
