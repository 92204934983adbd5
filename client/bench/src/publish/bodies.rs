//! What is published. Every body follows from a seed, the producer and a counter, so that it can be made again
//! when it is read back.

use std::path::Path;

use bytes::Bytes;

use crate::BenchError;
use crate::failure::local;
use crate::random::{Words, mix};

/// Bytes that are made at once: bodies are slices of such a block.
const BLOCK_BYTES: usize = 64 * 1024;

/// A source of bodies.
#[derive(Debug)]
pub(super) enum Bodies {
    /// Incompressible bytes.
    Random { seed: u64, size: usize },
    /// Lines of a file, over and over; each producer begins elsewhere.
    Lines { lines: Vec<Bytes>, producers: u32 },
}

impl Bodies {
    pub(super) fn lines(path: &Path, producers: u32) -> Result<Self, BenchError> {
        let text = Bytes::from(std::fs::read(path).map_err(local(&format!("read {}", path.display())))?);
        let lines: Vec<Bytes> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| text.slice_ref(line))
            .collect();
        match lines.is_empty() {
            true => Err(BenchError::Usage(format!("{} has no lines", path.display()))),
            false => Ok(Bodies::Lines { lines, producers }),
        }
    }

    /// The bodies of one producer, in order.
    pub(super) fn of(&self, producer: u32) -> ProducerBodies<'_> {
        ProducerBodies { bodies: self, producer, next: 0, block: Bytes::new() }
    }

    /// Whether this is the body that a producer published under this number.
    pub(super) fn is(&self, producer: u32, counter: u64, body: &[u8]) -> bool {
        match self {
            Bodies::Random { seed, size } => {
                let mut words = words(*seed, producer, counter);
                let (whole, rest) = body.as_chunks::<8>();
                body.len() == *size
                    && whole.iter().all(|chunk| u64::from_le_bytes(*chunk) == words.next_word())
                    && rest == &words.next_word().to_le_bytes()[..rest.len()]
            }
            Bodies::Lines { .. } => self.line(producer, counter) == body,
        }
    }

    fn line(&self, producer: u32, counter: u64) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match self {
            Bodies::Lines { lines, producers } => {
                let count = lines.len() as u64;
                let first = count * u64::from(producer) / u64::from(*producers).max(1);
                &lines[((first + counter) % count) as usize]
            }
            Bodies::Random { .. } => &NONE,
        }
    }
}

/// The bodies of one producer, in order.
pub(super) struct ProducerBodies<'a> {
    bodies: &'a Bodies,
    producer: u32,
    next: u64,
    block: Bytes,
}

impl ProducerBodies<'_> {
    /// The next body.
    pub(super) fn take(&mut self) -> Bytes {
        let counter = self.next;
        self.next += 1;
        let Bodies::Random { seed, size } = *self.bodies else {
            return self.bodies.line(self.producer, counter).clone();
        };
        if self.block.len() < size {
            let count = (BLOCK_BYTES / size).max(1);
            let mut block = Vec::with_capacity(count * size);
            for counter in (counter..).take(count) {
                fill(&mut block, size, words(seed, self.producer, counter));
            }
            self.block = block.into();
        }
        self.block.split_to(size)
    }
}

/// One of so many keys, for the message that a producer publishes under this number.
pub(super) fn key(keys: u32, producer: u32, counter: u64) -> String {
    format!("key-{}", words(0, producer, counter).next_word() % u64::from(keys))
}

fn fill(block: &mut Vec<u8>, size: usize, mut words: Words) {
    for _ in 0..size / 8 {
        block.extend_from_slice(&words.next_word().to_le_bytes());
    }
    block.extend_from_slice(&words.next_word().to_le_bytes()[..size % 8]);
}

fn words(seed: u64, producer: u32, counter: u64) -> Words {
    Words::of(seed ^ mix(counter ^ u64::from(producer) << 48))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_known_again_and_no_other_is_taken_for_it() {
        for size in [1, 7, 8, 128, 1024, 100_001] {
            let bodies = Bodies::Random { seed: 7, size };
            let mut first = bodies.of(0);
            for counter in 0..200 {
                let body = first.take();
                assert_eq!(body.len(), size);
                assert!(bodies.is(0, counter, &body));
                if size >= 8 {
                    assert!(!bodies.is(1, counter, &body) && !bodies.is(0, counter + 1, &body));
                    let mut flipped = body.to_vec();
                    flipped[size - 1] ^= 1;
                    assert!(!bodies.is(0, counter, &flipped));
                    assert!(!bodies.is(0, counter, &body[..size - 1]));
                }
            }
        }
    }

    #[test]
    fn lines_come_in_their_order_and_begin_elsewhere_for_each_producer() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lines");
        std::fs::write(&file, "a\n\nbb\nccc\ndddd").unwrap();
        let bodies = Bodies::lines(&file, 2).unwrap();
        let taken = |producer| {
            let mut of = bodies.of(producer);
            (0..5).map(|_| String::from_utf8(of.take().to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(taken(0), ["a", "bb", "ccc", "dddd", "a"]);
        assert_eq!(taken(1), ["ccc", "dddd", "a", "bb", "ccc"]);
        assert!(bodies.is(1, 4, b"ccc") && !bodies.is(1, 4, b"a"));
    }

    #[test]
    fn random_bodies_do_not_compress() {
        let bodies = Bodies::Random { seed: 1, size: 1024 };
        let mut of = bodies.of(0);
        let mut counts = [0u32; 256];
        (0..64).for_each(|_| of.take().iter().for_each(|byte| counts[*byte as usize] += 1));
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
    }
}
