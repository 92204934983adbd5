//! Durations, sizes and points in time as people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_sdk::{Offset, Start, UnixMs};

/// A bound of retention; `None`: for ever, or any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<u64>);

/// `7d`, `1h 30m`, `500ms`; zero is fine.
///
/// # Errors
/// In words, with examples.
pub fn period(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; write for instance 30s, 2h or 7d"))
}

/// The same, above zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = period(text)?;
    match duration.is_zero() {
        true => Err("must be above zero".into()),
        false => Ok(duration),
    }
}

/// `7d`, or `none` for ever.
pub(crate) fn age(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        text => duration(text).map(|age| Bound(Some(age.as_millis() as u64))),
    }
}

/// `10GiB`, `500MB`, `1048576`, or `none` for no bound.
pub(crate) fn size(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        text => bytes(text).map(|bytes| Bound(Some(bytes))).map_err(|error| format!("{error}, or none")),
    }
}

/// `10GiB`, `500MB`, `1.5k`, `1048576`: bytes, above zero.
///
/// # Errors
/// In words, with examples.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| format!("{why}; write for instance 512MiB or 10GiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong(&format!("{unit:?} is no unit of size"))),
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(scale),
        Err(_) => {
            let number: f64 = number.parse().map_err(|_| wrong(&format!("{text:?} is no size")))?;
            Some(number * scale as f64).filter(|bytes| *bytes < u64::MAX as f64).map(|bytes| bytes as u64)
        }
    };
    match bytes.ok_or_else(|| wrong("too large"))? {
        0 => Err(wrong("must be above zero")),
        bytes => Ok(bytes),
    }
}

/// `earliest`, `latest`, an offset, a time (RFC 3339, or milliseconds since 1970 with `ms` behind), or `-1h`.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    let at = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Start::Time(UnixMs(since.as_millis() as u64))
    };
    if let Ok(offset) = text.parse() {
        return Ok(Start::Offset(Offset(offset)));
    }
    if let Some(Ok(ms)) = text.strip_suffix("ms").map(str::parse) {
        return Ok(Start::Time(UnixMs(ms)));
    }
    if let Some(ago) = text.strip_prefix('-') {
        return Ok(at(SystemTime::now() - duration(ago)?));
    }
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        text => humantime::parse_rfc3339_weak(text).map(at).map_err(|_| {
            format!(
                "{text:?} is neither earliest, latest, an offset such as 42, a time such as \
                 2026-01-31T12:00:00Z or 1769860800000ms, nor an age such as -1h"
            )
        }),
    }
}

/// Bytes for people: `1.7 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Milliseconds for people: `7days`.
pub(crate) fn human_age(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages() {
        assert_eq!(size("10GiB"), Ok(Bound(Some(10 << 30))));
        assert_eq!(size("1.5k"), Ok(Bound(Some(1536))));
        assert_eq!(size("2 MB"), Ok(Bound(Some(2_000_000))));
        assert_eq!((size("none"), age("none")), (Ok(Bound(None)), Ok(Bound(None))));
        assert_eq!(age("7d"), Ok(Bound(Some(7 * 24 * 3_600_000))));
        for bad in ["", "GiB", "-1", "10 parsecs", "0", "99999999999TiB", "1.2.3k", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "7", "0s", "soon"] {
            assert!(age(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn starts() {
        assert_eq!(start("earliest"), Ok(Start::Earliest));
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("42"), Ok(Start::Offset(Offset(42))));
        assert_eq!(start("1500ms"), Ok(Start::Time(UnixMs(1500))));
        assert_eq!(start("1970-01-01T00:00:02Z"), Ok(Start::Time(UnixMs(2000))));
        assert!(matches!(start("-1h"), Ok(Start::Time(UnixMs(ms))) if ms > 1_600_000_000_000));
        for bad in ["", "yesterday", "-", "1h", "--"] {
            assert!(start(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!((human_bytes(1023).as_str(), human_bytes(1_784_866).as_str()), ("1023 B", "1.7 MiB"));
        assert_eq!(human_age(90_000), "1m 30s");
    }
}
