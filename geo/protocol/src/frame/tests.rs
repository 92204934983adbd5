//! Frames of any bytes: they decode to themselves or to an error, and never panic.

use bytes::Bytes;
use meridian_model::{BatchBuilder, Codec, Message};
use proptest::prelude::*;

use super::*;
use crate::region::{Region, RegionSet};

const LOG: LogId = LogId::from_u128(9);

fn batch(seed: u8) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Message::new(vec![seed; 3]));
    builder.build().expect("a batch")
}

/// A frame whose batches hash to the heads it gives.
fn frame(kinds: &[u8]) -> Frame {
    let (mut at, mut head, mut items) = (Offset(4), Head::initial(LOG), Vec::new());
    for kind in kinds {
        let item = match kind % 3 {
            0 => {
                let range = OffsetRange::new(at, at.plus(1 + u64::from(*kind)));
                let reason = SkipReason::ALL[usize::from(*kind) % 5];
                Item::Skip(Skip { range, reason, after: Head([*kind; 32]), verified: true })
            }
            _ => {
                let batch = batch(*kind);
                let names = ["a", "b-1"].map(|name| Region::parse(name).expect("a name"));
                let stamp = Stamp { regions: RegionSet::only(&names), allowed: RegionSet::Everywhere };
                let after = head.after(at, &Leaf::of(batch.bytes()));
                Item::Batch(Shipped { base: at, appended_at: UnixMs(5), stamp, batch, after })
            }
        };
        (at, head) = (item.range().to, item.after());
        items.push(item);
    }
    Frame::new(LOG, RouteEpoch(3), Offset(4), Some(Head::initial(LOG)), items).expect("a frame")
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

#[test]
fn the_bytes_of_version_1_are_pinned() {
    let skip = Skip {
        range: OffsetRange::new(Offset(1), Offset(3)),
        reason: SkipReason::Trimmed,
        after: Head([7; 32]),
        verified: false,
    };
    let frame = Frame::new(LOG, RouteEpoch(2), Offset(1), None, vec![Item::Skip(skip)]).expect("a frame");
    let mut expected = vec![1];
    expected.extend_from_slice(&9u128.to_be_bytes());
    for number in [2u64, 1, 3] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(&[0; 33]);
    expected.extend_from_slice(&[1, 0, 0, 0, 2, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[7; 32]);
    assert_eq!(encoded(&frame), expected);
}

#[test]
fn a_frame_without_items_with_a_gap_or_without_its_head_is_none() {
    let items = frame(&[1, 2]).items().to_vec();
    let made = |from: u64, before, items| Frame::new(LOG, RouteEpoch(0), Offset(from), before, items);
    assert_eq!(made(4, None, Vec::new()), Err(FrameError::Empty));
    assert_eq!(made(4, None, items.clone()), Err(FrameError::HeadMissing));
    let head = Some(Head::initial(LOG));
    assert_eq!(made(3, head, items.clone()), Err(FrameError::NotContiguous { at: Offset(3) }));
    let turned = items.into_iter().rev().collect();
    assert_eq!(made(4, head, turned), Err(FrameError::NotContiguous { at: Offset(4) }));
}

#[test]
fn a_batch_that_does_not_hash_to_its_head_is_found() {
    let mut items = frame(&[1, 2]).items().to_vec();
    if let Item::Batch(shipped) = &mut items[1] {
        shipped.batch = batch(77);
    }
    let other = Frame::new(LOG, RouteEpoch(3), Offset(4), Some(Head::initial(LOG)), items).expect("a frame");
    assert_eq!(other.verify(), Err(FrameError::Chain { at: Offset(5) }));
}

#[test]
fn offsets_that_add_up_past_the_end_of_numbers_are_refused() {
    let mut bytes = encoded(&frame(&[0, 3, 6]));
    let huge = (u64::MAX / 5).to_le_bytes();
    // The frame's end, and the count of each skip.
    for at in [33, 81, 124, 167] {
        bytes[at..at + 8].copy_from_slice(&huge);
    }
    assert!(Frame::decode(&Bytes::from(bytes)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_decodes_to_itself_and_any_cut_is_refused(kinds in prop::collection::vec(any::<u8>(), 1..12), cut: usize) {
        let frame = frame(&kinds);
        let bytes = Bytes::from(encoded(&frame));
        prop_assert_eq!(bytes.len(), frame.bytes());
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
        prop_assert!(frame.verify().is_ok());
        prop_assert!(Frame::decode(&bytes.slice(..cut % bytes.len())).is_err());
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        kinds in prop::collection::vec(any::<u8>(), 1..6),
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = encoded(&frame(&kinds));
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        if let Ok(frame) = Frame::decode(&Bytes::from(bytes.clone())) {
            prop_assert_eq!(encoded(&frame), bytes);
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut versioned = noise.clone();
        if let Some(first) = versioned.first_mut() {
            *first = 1;
        }
        for bytes in [noise, versioned] {
            let _ = crate::acks::Told::decode(&bytes);
            if let Ok(frame) = Frame::decode(&Bytes::from(bytes)) {
                let _ = frame.verify();
            }
        }
    }
}
