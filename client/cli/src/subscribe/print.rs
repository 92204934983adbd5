//! A delivered message as a line.

use clap::ValueEnum;
use meridian_sdk::consumer::{Delivery, Pulled};
use serde_json::{Map, Value, json};

use crate::read::print::bytes;

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Its body and a line end
    Body,
    /// A JSON object: topic, partition, offset, attempt, time, key, body
    Json,
    /// A JSON object with everything there is
    Full,
}

impl Format {
    /// The line, without its end.
    pub(super) fn of(self, delivery: &Delivery) -> Vec<u8> {
        match self {
            Format::Body => delivery.body.to_vec(),
            Format::Json => Value::Object(short(delivery)).to_string().into_bytes(),
            Format::Full => Value::Object(full(delivery)).to_string().into_bytes(),
        }
    }
}

fn short(delivery: &Delivery) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("topic".into(), json!(*delivery.topic));
    line.insert("partition".into(), json!(delivery.partition));
    line.insert("offset".into(), json!(delivery.offset.0));
    line.insert("attempt".into(), json!(delivery.attempt));
    line.insert("appended_at_ms".into(), json!(delivery.appended_at.0));
    optional(&mut line, "key", delivery.key.as_deref());
    bytes(&mut line, "body", &delivery.body);
    line
}

fn full(delivery: &Delivery) -> Map<String, Value> {
    let mut line = short(delivery);
    line.insert("log".into(), json!(delivery.log.to_string()));
    line.insert("producer".into(), json!(delivery.producer.to_string()));
    line.insert("epoch".into(), json!(delivery.epoch));
    line.insert("sequence".into(), json!(delivery.sequence));
    line.insert("lease_until_ms".into(), json!(delivery.lease_until.0));
    let mut properties = Map::new();
    delivery.properties.iter().for_each(|(name, value)| bytes(&mut properties, name, value));
    line.insert("properties".into(), Value::Object(properties));
    line
}

/// A pulled message, with the id that acks it.
pub(super) fn pulled(pulled: &Pulled) -> Value {
    let mut line = Map::new();
    line.insert("ack_id".into(), json!(to_hex(&pulled.ack_id)));
    line.insert("partition".into(), json!(pulled.partition));
    line.insert("offset".into(), json!(pulled.offset.0));
    line.insert("attempt".into(), json!(pulled.attempt));
    line.insert("lease_until_ms".into(), json!(pulled.lease_until.0));
    line.insert("appended_at_ms".into(), json!(pulled.appended_at.0));
    optional(&mut line, "key", pulled.key.as_deref());
    bytes(&mut line, "body", &pulled.body);
    Value::Object(line)
}

fn optional(line: &mut Map<String, Value>, name: &str, value: Option<&[u8]>) {
    match value {
        Some(value) => bytes(line, name, value),
        None => drop(line.insert(name.into(), Value::Null)),
    }
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As [`to_hex`] wrote it.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_printed_so_that_they_can_be_read_again() {
        let id = [0, 0x7f, 0xff, 0x10];
        assert_eq!(to_hex(&id), "007fff10");
        assert_eq!(from_hex("007FFF10").as_deref(), Some(&id[..]));
        assert!(from_hex("abc").is_none() && from_hex("zz").is_none());
    }
}
