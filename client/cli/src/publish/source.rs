//! Where messages come from: arguments, a file, or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use bytes::Bytes;
use meridian_model::limits::MESSAGE_BYTES_MAX;
use meridian_sdk::Message;
use serde_json::Value;
use tokio::sync::mpsc;

use super::PublishArgs;
use crate::Failure;

/// Lines that are read ahead.
const LINES_AHEAD_MAX: usize = 256;

/// Messages in order.
pub(super) struct Source {
    lines: Lines,
    key: Key,
    /// Lines taken so far.
    number: u64,
    total_bytes: Option<u64>,
}

enum Lines {
    Given(std::vec::IntoIter<String>),
    Read(mpsc::Receiver<Result<Vec<u8>, Failure>>),
}

enum Key {
    None,
    Same(Bytes),
    Field(String),
}

impl Source {
    pub(super) fn open(args: &PublishArgs) -> Result<Self, Failure> {
        let mut total_bytes = None;
        let lines = if !args.message.is_empty() {
            Lines::Given(args.message.clone().into_iter())
        } else if let Some(path) = &args.file {
            let unreadable = |error: io::Error| {
                Failure::local(format!("cannot read {}: {error}", path.display()), "check the path of --file")
            };
            let file = File::open(path).map_err(unreadable)?;
            let about = file.metadata().map_err(unreadable)?;
            if about.is_dir() {
                return Err(unreadable(io::ErrorKind::IsADirectory.into()));
            }
            total_bytes = Some(about.len()).filter(|_| about.is_file());
            Lines::Read(read_ahead(file))
        } else {
            Lines::Read(read_ahead(io::stdin()))
        };
        let key = match (&args.key, &args.key_field) {
            (Some(key), _) => Key::Same(Bytes::from(key.clone())),
            (None, Some(field)) => Key::Field(field.clone()),
            (None, None) => Key::None,
        };
        Ok(Self { lines, key, number: 0, total_bytes })
    }

    /// How many bytes there are, where that is known.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// The next message; `None` at the end. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        let line = match &mut self.lines {
            Lines::Given(lines) => lines.next().map(String::into_bytes),
            Lines::Read(lines) => lines.recv().await.transpose()?,
        };
        let Some(line) = line else { return Ok(None) };
        self.number += 1;
        let key = match &self.key {
            Key::None => None,
            Key::Same(key) => Some(key.clone()),
            Key::Field(field) => Some(key_of(&line, field, self.number)?),
        };
        Ok(Some(Message { key, ..Message::new(line) }))
    }
}

/// Reads lines on a thread of its own, which nobody waits for: standard input cannot be interrupted.
fn read_ahead(input: impl Read + Send + 'static) -> mpsc::Receiver<Result<Vec<u8>, Failure>> {
    let (lines, ahead) = mpsc::channel(LINES_AHEAD_MAX);
    thread::spawn(move || {
        let mut reader = BufReader::with_capacity(256 * 1024, input);
        for number in 1.. {
            let Some(line) = read_line(&mut reader, number).transpose() else { return };
            let last = line.is_err();
            if lines.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    ahead
}

/// One line without its end. A line that no message can hold is an error before it is in memory as a whole.
fn read_line(reader: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let most = MESSAGE_BYTES_MAX as u64 + 2;
    let read = reader.by_ref().take(most).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::local(format!("cannot read line {number}: {error}"), "check the input"))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    match line.len() > MESSAGE_BYTES_MAX {
        false => Ok(Some(line)),
        true => Err(Failure::local(
            format!("line {number} is longer than {MESSAGE_BYTES_MAX} bytes, the most a message may have"),
            "split the line, or store the large part elsewhere and publish where it is",
        )),
    }
}

/// The key in a JSON line: a text as it is, a number or a truth value as JSON spells it.
fn key_of(line: &[u8], field: &str, number: u64) -> Result<Bytes, Failure> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        Failure::local(
            format!("line {number} is not JSON: {error}"),
            "--key-field needs one JSON object a line; the lines before it are published",
        )
    })?;
    match value.get(field) {
        Some(Value::String(text)) => Ok(Bytes::from(text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Bytes::from(value.to_string())),
        _ => Err(Failure::local(
            format!("line {number} has no text, number or truth value in the field {field:?}"),
            "correct the line or --key-field; the lines before it are published",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut reader: &[u8] = b"one\ntwo\r\n\n three \nlast";
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut reader, 1).expect("readable") {
            lines.push(String::from_utf8(line).expect("text"));
        }
        assert_eq!(lines, ["one", "two", "", " three ", "last"]);
    }

    #[test]
    fn a_line_that_no_message_can_hold_is_named() {
        let text = format!("{}\n{}\n", "a".repeat(MESSAGE_BYTES_MAX), "b".repeat(MESSAGE_BYTES_MAX + 1));
        let mut reader = text.as_bytes();
        read_line(&mut reader, 1).expect("just fits").expect("a line");
        match read_line(&mut reader, 2) {
            Err(Failure::Local { message, .. }) => assert!(message.contains("line 2"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_come_from_texts_and_numbers() {
        let line = br#"{"origin":"SFO","delay":-5,"on":{}}"#;
        assert_eq!(key_of(line, "origin", 1).expect("a text"), "SFO");
        assert_eq!(key_of(line, "delay", 1).expect("a number"), "-5");
        for (line, field) in [(&line[..], "on"), (&line[..], "none"), (b"[1]", "a"), (b"{", "a")] {
            assert!(key_of(line, field, 7).is_err());
        }
    }
}
