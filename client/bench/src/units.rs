//! Sizes, durations and rates as people write them.

use std::time::Duration;

/// `30s`, `500ms`, `5m`; zero is fine.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for instance 30s or 5m"))
}

/// `1024`, `1KiB`, `30MB`: bytes, above zero.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("{unit:?} is no unit of size; write for instance 128, 1KiB or 30MB")),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(scale));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text:?} is no size above zero"))
}

/// Messages a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// As many as the cluster takes.
    Max,
    /// This many, whatever the cluster does.
    PerSecond(f64),
}

/// `max`, or messages a second.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Rate::PerSecond(rate)),
        _ => Err(format!("{text:?} is neither max nor a number of messages a second above zero")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood_and_the_rest_refused() {
        assert_eq!((size("1KiB"), size("30MB"), size("128")), (Ok(1024), Ok(30_000_000), Ok(128)));
        assert_eq!((rate("max"), rate("2.5")), (Ok(Rate::Max), Ok(Rate::PerSecond(2.5))));
        assert_eq!((duration("5m"), duration("0s")), (Ok(Duration::from_secs(300)), Ok(Duration::ZERO)));
        for bad in ["", "0", "KiB", "-1", "1 parsec", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "0", "-3", "fast", "inf", "NaN"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }
}
