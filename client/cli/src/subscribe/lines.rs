//! Decisions about messages, as lines of standard input.

use tokio::io::{AsyncBufReadExt, BufReader, Stdin};

use crate::Failure;

/// What shall become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ack,
    Nack,
    Extend,
}

/// Where decisions come from.
pub(super) struct Lines(tokio::io::Lines<BufReader<Stdin>>);

impl Lines {
    pub(super) fn standard() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next decision; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Verdict>, Failure> {
        let line = self.0.next_line().await.map_err(|error| {
            Failure::local(format!("cannot read standard input: {error}"), "check where it comes from")
        })?;
        line.map(|line| parse(&line)).transpose()
    }
}

fn parse(line: &str) -> Result<Verdict, Failure> {
    match line.trim() {
        "" | "ack" => Ok(Verdict::Ack),
        "nack" => Ok(Verdict::Nack),
        "extend" => Ok(Verdict::Extend),
        other => {
            let message = format!("{other:?} decides nothing");
            Err(Failure::local(message, "write ack or an empty line, nack, or extend"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_decides_or_is_refused() {
        let known = [
            ("", Verdict::Ack),
            (" ack ", Verdict::Ack),
            ("nack", Verdict::Nack),
            ("extend", Verdict::Extend),
        ];
        for (line, verdict) in known {
            assert_eq!(parse(line).expect("a decision"), verdict);
        }
        assert!(parse("perhaps").is_err());
    }
}
