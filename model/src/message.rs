//! One message, as applications see it.

use bytes::Bytes;

use crate::limits;

/// A message: a key that chooses its partition and order, properties, and a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Messages with the same key keep their order and their partition. Absent: sticky partitions.
    pub key: Option<Bytes>,
    /// Small named values beside the body.
    pub properties: Vec<(String, Bytes)>,
    /// What the application sends.
    pub body: Bytes,
}

impl Message {
    /// A message without key or properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { key: None, properties: Vec::new(), body: body.into() }
    }

    /// The same message with a key.
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same message with one more property.
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Bytes of body, key and properties together: what limits count.
    pub fn size_bytes(&self) -> usize {
        let properties: usize = self.properties.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.body.len() + self.key.as_ref().map_or(0, Bytes::len) + properties
    }

    /// Checks the message against [`limits`].
    pub fn check(&self) -> Result<(), MessageError> {
        if self.size_bytes() > limits::MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLarge { bytes: self.size_bytes() });
        }
        if self.key.as_ref().is_some_and(|k| k.len() > limits::KEY_BYTES_MAX) {
            return Err(MessageError::KeyTooLong);
        }
        if self.properties.len() > limits::PROPERTIES_MAX {
            return Err(MessageError::TooManyProperties);
        }
        if self.properties.iter().any(|(n, _)| n.is_empty() || n.len() > limits::NAME_BYTES_MAX) {
            return Err(MessageError::PropertyName);
        }
        Ok(())
    }
}

/// Why a message cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`limits::MESSAGE_BYTES_MAX`].
    #[error("the message has {bytes} bytes, the most is {max}", max = limits::MESSAGE_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Over [`limits::KEY_BYTES_MAX`].
    #[error("the key is longer than {max} bytes", max = limits::KEY_BYTES_MAX)]
    KeyTooLong,
    /// Over [`limits::PROPERTIES_MAX`].
    #[error("more than {max} properties", max = limits::PROPERTIES_MAX)]
    TooManyProperties,
    /// Empty, or over [`limits::NAME_BYTES_MAX`].
    #[error("a property name is empty or longer than {max} bytes", max = limits::NAME_BYTES_MAX)]
    PropertyName,
}
