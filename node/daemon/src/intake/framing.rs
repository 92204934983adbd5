//! Where gRPC messages begin and end in the bytes of a body: a flag, four bytes of length, the message.

const PREFIX_BYTES: usize = 5;

/// Where in the stream of messages a body is.
#[derive(Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    left: usize,
    /// Bytes of the message that is not complete, prefix included.
    open: usize,
}

impl Framing {
    /// Takes the next bytes. Says whether a message ended in them.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            let count = match self.left {
                0 => {
                    let count = bytes.len().min(PREFIX_BYTES - self.have);
                    self.prefix[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                    self.have += count;
                    count
                }
                left => {
                    let count = bytes.len().min(left);
                    self.left -= count;
                    count
                }
            };
            self.open += count;
            bytes = &bytes[count..];
            if self.have == PREFIX_BYTES {
                let [_, a, b, c, d] = self.prefix;
                // A message without content is complete with its prefix.
                (self.left, self.have) = (u32::from_be_bytes([a, b, c, d]) as usize, 0);
            }
            if self.left == 0 && self.have == 0 {
                self.open = 0;
                ended = true;
            }
        }
        ended
    }

    /// Bytes of the message that has begun and is not complete.
    pub(super) fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, length));
        bytes
    }

    #[test]
    fn only_the_open_message_counts_however_it_is_cut() {
        let whole = [message(10), message(0), message(300)].concat();
        for piece in [1, 3, 5, 6, 15, 20, 1_000] {
            let mut framing = Framing::default();
            let ended = whole.chunks(piece).filter(|bytes| framing.read(bytes)).count();
            assert_eq!(framing.open(), 0, "by {piece}");
            assert!((1..=3).contains(&ended), "by {piece}: {ended}");
            assert!(!framing.read(&message(40)[..30]));
            assert_eq!(framing.open(), 30);
            assert!(framing.read(&message(40)[30..]));
            assert_eq!(framing.open(), 0);
        }
    }
}
