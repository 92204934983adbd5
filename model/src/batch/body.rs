//! From a batch back to messages.

use bytes::{Buf, Bytes};

use crate::batch::{Batch, BatchError, Codec, header};
use crate::{Message, limits};

/// All messages of a batch. An uncompressed body is not copied.
pub fn decode_messages(batch: &Batch) -> Result<Vec<Message>, BatchError> {
    decode_range(batch, 0, batch.header().count)
}

/// `count` messages from the `first` on (counted from 0 within the batch).
pub fn decode_range(batch: &Batch, first: u32, count: u32) -> Result<Vec<Message>, BatchError> {
    let head = batch.header();
    let table_start = head.header_bytes();
    let body_start = table_start + head.table_bytes();
    let table = &batch.bytes()[table_start..body_start];
    let body = match head.codec {
        Codec::None => batch.bytes().slice(body_start..),
        codec => Bytes::from(codec.decompress(&batch.bytes()[body_start..], head.raw_bytes as usize)?),
    };
    if body.len() != head.raw_bytes as usize {
        return Err(BatchError::Body("raw length"));
    }
    let mut messages = Vec::with_capacity(count.min(limits::BATCH_MESSAGES_MAX) as usize);
    let mut at = 0usize;
    for (number, row) in table.chunks_exact(header::ROW_BYTES).enumerate() {
        let length = u32::from_le_bytes([row[8], row[9], row[10], row[11]]) as usize;
        let end = at.checked_add(length).filter(|end| *end <= body.len());
        let end = end.ok_or(BatchError::Body("a message ends behind the body"))?;
        if number >= first as usize && messages.len() < count as usize {
            messages.push(decode_record(body.slice(at..end))?);
        }
        at = end;
    }
    if at != body.len() {
        return Err(BatchError::Body("bytes behind the last message"));
    }
    Ok(messages)
}

/// Key hash and raw length of each message, in order: what can be known without decompressing anything.
pub fn table(batch: &Batch) -> impl Iterator<Item = (u64, u32)> + '_ {
    let start = batch.header().header_bytes();
    let rows = &batch.bytes()[start..start + batch.header().table_bytes()];
    rows.chunks_exact(header::ROW_BYTES).map(|row| {
        let (mut key_hash, mut length) = ([0; 8], [0; 4]);
        key_hash.copy_from_slice(&row[..8]);
        length.copy_from_slice(&row[8..]);
        (u64::from_le_bytes(key_hash), u32::from_le_bytes(length))
    })
}

fn decode_record(mut record: Bytes) -> Result<Message, BatchError> {
    const SHORT: BatchError = BatchError::Body("a message is cut short");
    let flags = record.try_get_u8().map_err(|_| SHORT)?;
    if flags & !3 != 0 {
        return Err(BatchError::Unsupported("a message flag"));
    }
    let mut message = Message::default();
    if flags & 1 != 0 {
        let length = record.try_get_u32_le().map_err(|_| SHORT)? as usize;
        message.key = Some(take(&mut record, length)?);
    }
    if flags & 2 != 0 {
        let count = usize::from(record.try_get_u16_le().map_err(|_| SHORT)?);
        if count > limits::PROPERTIES_MAX {
            return Err(BatchError::Body("too many properties"));
        }
        for _ in 0..count {
            let length = usize::from(record.try_get_u16_le().map_err(|_| SHORT)?);
            let name = String::from_utf8(take(&mut record, length)?.to_vec())
                .map_err(|_| BatchError::Body("a property name is not UTF-8"))?;
            let length = record.try_get_u32_le().map_err(|_| SHORT)? as usize;
            message.properties.push((name, take(&mut record, length)?));
        }
    }
    message.body = record;
    Ok(message)
}

fn take(record: &mut Bytes, length: usize) -> Result<Bytes, BatchError> {
    if length > record.len() {
        return Err(BatchError::Body("a message is cut short"));
    }
    Ok(record.split_to(length))
}
