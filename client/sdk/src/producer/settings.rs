//! How a producer behaves.

use std::time::Duration;

use meridian_model::{Codec, limits};

use crate::Error;

/// The knobs of one producer.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Option<String>,
    pub(super) codec: Codec,
    pub(super) batch_bytes_max: usize,
    pub(super) batch_messages_max: u32,
    pub(super) linger: Duration,
    pub(super) in_flight_max: usize,
    pub(super) buffer_bytes_max: usize,
    pub(super) delivery_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            codec: Codec::Lz4,
            batch_bytes_max: 512 * 1024,
            batch_messages_max: 8_192,
            linger: Duration::ZERO,
            in_flight_max: 16,
            buffer_bytes_max: 32 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

impl Settings {
    /// Refuses what the cluster would refuse anyway.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(name) = &self.name {
            meridian_model::name::check("producer", name)
                .map_err(|error| Error::invalid("producer", error))?;
        }
        within("batch_bytes_max", self.batch_bytes_max, limits::BATCH_BYTES_MAX)?;
        within("batch_messages_max", self.batch_messages_max as usize, limits::BATCH_MESSAGES_MAX as usize)?;
        within("in_flight_max", self.in_flight_max, limits::PRODUCER_INFLIGHT_BATCHES_MAX)?;
        within("buffer_bytes_max", self.buffer_bytes_max, u32::MAX as usize)?;
        if self.delivery_timeout.is_zero() {
            return Err(Error::invalid("delivery_timeout", "must be above zero"));
        }
        Ok(())
    }
}

fn within(field: &'static str, value: usize, max: usize) -> Result<(), Error> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("{value} is not between 1 and {max}"))),
    }
}
