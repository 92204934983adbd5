//! A message as a line.

use clap::ValueEnum;
use meridian_sdk::Record;
use serde_json::{Map, Value, json};

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Its body and a line end
    Body,
    /// A JSON object: partition, offset, time, key, body
    Json,
    /// A JSON object with everything there is
    Full,
}

impl Format {
    /// The line, without its end.
    pub(super) fn of(self, record: &Record) -> Vec<u8> {
        match self {
            Format::Body => record.body.to_vec(),
            Format::Json => Value::Object(short(record)).to_string().into_bytes(),
            Format::Full => Value::Object(full(record)).to_string().into_bytes(),
        }
    }
}

fn short(record: &Record) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("partition".into(), json!(record.partition));
    line.insert("offset".into(), json!(record.offset.0));
    line.insert("appended_at_ms".into(), json!(record.appended_at.0));
    match &record.key {
        Some(key) => bytes(&mut line, "key", key),
        None => drop(line.insert("key".into(), Value::Null)),
    }
    bytes(&mut line, "body", &record.body);
    line
}

fn full(record: &Record) -> Map<String, Value> {
    let mut line = short(record);
    line.insert("topic".into(), json!(*record.topic));
    line.insert("log".into(), json!(record.log.to_string()));
    line.insert("producer".into(), json!(record.producer.to_string()));
    line.insert("epoch".into(), json!(record.epoch));
    line.insert("sequence".into(), json!(record.sequence));
    let mut properties = Map::new();
    record.properties.iter().for_each(|(name, value)| bytes(&mut properties, name, value));
    line.insert("properties".into(), Value::Object(properties));
    line
}

/// As text where it is UTF-8; otherwise in hexadecimal, under the name with `_hex` behind.
pub(crate) fn bytes(into: &mut Map<String, Value>, name: &str, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(text) => into.insert(name.into(), json!(text)),
        Err(_) => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            into.insert(format!("{name}_hex"), json!(hex))
        }
    };
}

#[cfg(test)]
mod tests {
    use meridian_sdk::{LogId, Offset, ProducerId, UnixMs};

    use super::*;

    #[test]
    fn each_format_says_what_it_should() {
        let record = Record {
            topic: "t".into(),
            partition: 2,
            log: LogId::from_u128(1),
            offset: Offset(7),
            appended_at: UnixMs(9),
            producer: ProducerId::from_u128(3),
            epoch: 1,
            sequence: 5,
            key: Some(b"\xff\x00".as_slice().into()),
            properties: vec![("p".into(), "v".into())],
            body: "hello \"you\"".into(),
        };
        assert_eq!(Format::Body.of(&record), b"hello \"you\"");
        let line: Value = serde_json::from_slice(&Format::Json.of(&record)).expect("JSON");
        let body = "hello \"you\"";
        assert_eq!(line, json!({"partition":2,"offset":7,"appended_at_ms":9,"key_hex":"ff00","body":body}));
        let line: Value = serde_json::from_slice(&Format::Full.of(&record)).expect("JSON");
        assert_eq!((&line["sequence"], &line["properties"]["p"]), (&json!(5), &json!("v")));
    }
}
