//! Sizes and rates as people write them.

use meridian_cli::units;

/// `1024`, `1KiB`, `30MB`: bytes, above zero.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    usize::try_from(units::bytes(text)?).map_err(|_| format!("{text} is more than this machine can count"))
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
        for bad in ["", "0", "KiB", "-1", "1 parsec", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "0", "-3", "fast", "inf", "NaN"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }
}
