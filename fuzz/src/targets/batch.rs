//! Batches: what verifies keeps to every bound, is written again byte for byte, and gives back exactly the messages
//! that its table speaks of, in memory that its header announces.

use bytes::Bytes;
use meridian_model::batch::{
    Batch, BatchBuilder, BatchHeader, Codec, FLAG_NAMED_PRODUCER, FLAG_POSSIBLE_DUPLICATE, decode_messages,
    decode_range,
};
use meridian_model::{Message, ProducerId, UnixMs, limits};

use super::Met;
use crate::{heal, memory};

/// The input is a batch: as it came, with its checksums set right, and with its length set right too.
pub(super) fn check(input: &[u8]) -> Met {
    let met = [input.to_vec(), heal::batch(input), heal::batch_length(input)].map(decode);
    if met.contains(&Met::Understood) { Met::Understood } else { Met::Refused }
}

fn decode(bytes: Vec<u8>) -> Met {
    let bytes = Bytes::from(bytes);
    let Ok(batch) = Batch::verify(bytes.clone()) else { return Met::Refused };
    let header = batch.header();
    assert_within_limits(header, &bytes);
    let mut again = Vec::new();
    header.encode(&mut again);
    assert_eq!(again, bytes[..header.header_bytes()], "the header has one spelling");
    assert_eq!(Batch::trust(bytes).as_ref(), Ok(&batch), "what verifies can be trusted");
    let Ok(messages) = memory::within(announced(header), || decode_messages(&batch)) else {
        return Met::Refused;
    };
    assert_eq!(messages.len(), header.count as usize);
    assert_eq!(raw_bytes(&messages, &batch), header.raw_bytes as usize, "the header announced the raw bytes");
    let (first, count) = (header.epoch % header.count, header.first_sequence as u32 % 5);
    let some = decode_range(&batch, first, count).expect("part of what decodes decodes");
    let end = (first.saturating_add(count) as usize).min(messages.len());
    assert_eq!(some, messages[first as usize..end]);
    assert_packs_again(&messages);
    Met::Understood
}

fn assert_within_limits(header: &BatchHeader, bytes: &Bytes) {
    assert!((1..=limits::BATCH_MESSAGES_MAX).contains(&header.count));
    assert!(bytes.len() <= limits::BATCH_BYTES_MAX && header.total_bytes() == bytes.len());
    assert!(header.raw_bytes as usize <= limits::BATCH_RAW_BYTES_MAX);
    assert!(header.regions.len() <= limits::REGIONS_MAX);
    let known = FLAG_POSSIBLE_DUPLICATE | FLAG_NAMED_PRODUCER;
    assert_eq!(header.flags & !known, 0, "a flag that nobody knows is refused");
}

/// Bytes that decoding may hold: the body, a message for each row, and a property for each six bytes of body.
fn announced(header: &BatchHeader) -> usize {
    let raw = (header.raw_bytes as usize).max(header.body_bytes as usize);
    let property = 3 * size_of::<(String, Bytes)>();
    64 * 1024 + 2 * raw + header.count as usize * size_of::<Message>() + raw / 6 * property
}

/// The raw bytes by what came out: by the table, and by the messages.
fn raw_bytes(messages: &[Message], batch: &Batch) -> usize {
    let table = &batch.bytes()[batch.header().header_bytes()..][..batch.header().table_bytes()];
    let lengths = table.chunks_exact(12).map(|row| u32::from_le_bytes([row[8], row[9], row[10], row[11]]));
    for (message, length) in messages.iter().zip(lengths.clone()) {
        assert!(message.size_bytes() < length as usize, "a message is longer than its record");
        assert!(message.properties.len() <= limits::PROPERTIES_MAX);
    }
    lengths.map(|length| length as usize).sum()
}

fn assert_packs_again(messages: &[Message]) {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for message in messages {
        if !builder.fits(message) {
            return;
        }
        builder.push(message);
    }
    let packed = builder.build().expect("messages that fit make a batch");
    let packed = Batch::verify(packed.into_bytes()).expect("what was packed verifies");
    assert_eq!(decode_messages(&packed).as_deref(), Ok(messages));
}

/// Batches of every codec, with and without keys and properties, small and compressible.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plain = Message::new("hello");
    let rich = Message::new(vec![7u8; 300])
        .with_key("a-key")
        .with_property("content-type", "text/plain")
        .with_property("n", vec![0u8; 40]);
    let mut seeds = Vec::new();
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        for messages in [vec![plain.clone()], vec![rich.clone(), plain.clone()], vec![rich.clone(); 9]] {
            let mut builder = BatchBuilder::new(codec)
                .producer(ProducerId::from_u128(7), 3, 42)
                .flags(FLAG_NAMED_PRODUCER)
                .published_at(UnixMs(1_700_000_000_000));
            messages.iter().for_each(|message| builder.push(message));
            seeds.push(builder.build().expect("a batch").into_bytes().to_vec());
        }
    }
    seeds.push(with_regions(&seeds[0]));
    seeds
}

/// The same batch for two regions.
fn with_regions(plain: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader::decode(plain).expect("a header");
    let rest = &plain[header.header_bytes()..];
    header.regions = vec!["eu".into(), "us-east".into()];
    let mut batch = Vec::new();
    header.encode(&mut batch);
    batch.extend_from_slice(rest);
    batch
}
