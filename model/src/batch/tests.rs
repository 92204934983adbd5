//! A batch survives the round trip, and no damaged byte goes unnoticed.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Message, ProducerId};

fn any_message() -> impl Strategy<Value = Message> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    (prop::option::of(bytes()), prop::collection::vec(("[a-z]{1,8}", bytes()), 0..3), bytes())
        .prop_map(|(key, properties, body)| Message { key, properties, body })
}

fn any_codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::None), Just(Codec::Lz4), Just(Codec::Zstd)]
}

fn build(codec: Codec, messages: &[Message]) -> Batch {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId::from_u128(7), 3, 42);
    messages.iter().for_each(|m| builder.push(m));
    builder.build().expect("a valid batch")
}

proptest! {
    #[test]
    fn messages_come_back_as_they_went(codec in any_codec(), messages in prop::collection::vec(any_message(), 1..20)) {
        let batch = build(codec, &messages);
        let read = Batch::verify(batch.bytes().clone()).expect("verifies");
        prop_assert_eq!(read.header().next_sequence(), 42 + messages.len() as u64);
        prop_assert_eq!(decode_messages(&read).expect("decodes"), messages.clone());
        let last = messages.len() as u32 - 1;
        prop_assert_eq!(decode_range(&read, last, 1).expect("decodes"), messages[last as usize..].to_vec());
    }

    #[test]
    fn one_flipped_bit_is_always_found(codec in any_codec(), messages in prop::collection::vec(any_message(), 1..5), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let batch = build(codec, &messages);
        let mut bytes = batch.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Batch::verify(Bytes::from(bytes)).is_err());
    }

    #[test]
    fn truncation_is_always_found(messages in prop::collection::vec(any_message(), 1..5), keep in any::<prop::sample::Index>()) {
        let batch = build(Codec::Lz4, &messages);
        let keep = keep.index(batch.bytes().len());
        prop_assert!(Batch::verify(batch.bytes().slice(..keep)).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Batch::verify(Bytes::from(bytes)).is_err());
    }
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let header = BatchHeader { count: 1, raw_bytes: u32::MAX, codec: Codec::Zstd, ..Default::default() };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(&[0; 12]);
    assert!(matches!(Batch::verify(Bytes::from(bytes)), Err(BatchError::Limit { .. })));
}

#[test]
fn a_flag_that_nobody_knows_is_refused() {
    for bit in 2..32 {
        let header = BatchHeader { count: 1, flags: 1 << bit, ..Default::default() };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(BatchHeader::decode(&bytes), Err(BatchError::Unsupported("a flag")), "bit {bit}");
    }
}

#[test]
fn raw_bytes_that_are_not_there_are_noticed_without_compression_too() {
    let honest = build(Codec::None, &[Message::new("hello")]);
    let mut header = honest.header().clone();
    let payload = honest.bytes().slice(header.header_bytes()..);
    header.raw_bytes += 1;
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(&payload);
    let lying = Batch::verify(Bytes::from(bytes)).expect("sound, but for what it announces");
    assert_eq!(decode_messages(&lying), Err(BatchError::Body("raw length")));
}

#[test]
fn incompressible_bodies_are_stored_as_they_are() {
    let batch = build(Codec::Lz4, &[Message::new(vec![7u8, 1, 9, 4])]);
    assert_eq!(batch.header().codec, Codec::None);
}

#[test]
fn a_builder_that_is_used_again_forgets_what_it_held() {
    let mut builder = BatchBuilder::new(Codec::Lz4).producer(ProducerId::from_u128(7), 3, 42);
    let long = Message::new(vec![7u8; 5_000]);
    builder.push(&long);
    let first = builder.finish().expect("a batch");
    assert!(matches!(builder.finish(), Err(BatchError::Empty)));
    let short = Message::new(vec![8u8; 50]).with_key("k");
    builder.push(&short);
    let second = Batch::verify(builder.finish().expect("a batch").into_bytes()).expect("verifies");
    assert_eq!(decode_messages(&first).expect("decodes"), [long]);
    assert_eq!(decode_messages(&second).expect("decodes"), [short]);
    assert_eq!(second.header().producer, ProducerId::default());
}
