//! Reads along: the client preface and the heads of HTTP/2 frames (RFC 9113, sections 3.4 and 4.1), in whatever
//! pieces they come. Payloads are passed over.

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;

/// What came first is no HTTP/2.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPreface;

/// Where in the stream of frames one connection is.
#[derive(Default)]
pub(super) struct Frames {
    preface: usize,
    head: [u8; HEAD_BYTES],
    have: usize,
    skip: usize,
}

impl Frames {
    /// Whether the preface is complete.
    pub(super) fn greeted(&self) -> bool {
        self.preface == PREFACE.len()
    }

    /// Takes the next bytes and counts the frames in them that carry nothing: everything but what opens, feeds
    /// or ends a stream. The server behind bounds those itself.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<u32, NoPreface> {
        let mut idle = 0;
        while !bytes.is_empty() {
            if !self.greeted() {
                let count = bytes.len().min(PREFACE.len() - self.preface);
                if bytes[..count] != PREFACE[self.preface..self.preface + count] {
                    return Err(NoPreface);
                }
                self.preface += count;
                bytes = &bytes[count..];
            } else if self.skip > 0 {
                let count = bytes.len().min(self.skip);
                self.skip -= count;
                bytes = &bytes[count..];
            } else {
                let count = bytes.len().min(HEAD_BYTES - self.have);
                self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                self.have += count;
                bytes = &bytes[count..];
                if self.have == HEAD_BYTES {
                    self.have = 0;
                    let [a, b, c, kind, flags, ..] = self.head;
                    self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    idle += u32::from(carries_nothing(kind, flags, self.skip));
                }
            }
        }
        Ok(idle)
    }
}

fn carries_nothing(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(0xff, length));
        frame
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut sent = PREFACE.to_vec();
        for (kind, flags, length) in [
            (4, 0, 12),
            (6, 0, 8),
            (0, 0, 700),
            (0, 0, 0),
            (0, 1, 0),
            (1, 4, 30),
            (8, 0, 4),
            (2, 0, 5),
            (0xee, 0, 3),
        ] {
            sent.extend(frame(kind, flags, length));
        }
        for piece in [1, 2, 7, 9, 10, 24, 25, 100, 10_000] {
            let mut frames = Frames::default();
            let idle: u32 = sent.chunks(piece).map(|bytes| frames.read(bytes).expect("HTTP/2")).sum();
            assert_eq!(idle, 5, "SETTINGS, PING, an empty DATA, PRIORITY and the unknown one; by {piece}");
            assert!(frames.greeted());
        }
    }

    #[test]
    fn anything_else_is_no_preface() {
        assert_eq!(Frames::default().read(b"GET / HTTP/1.1\r\n"), Err(NoPreface));
        assert_eq!(Frames::default().read(&[0x16, 0x03, 0x01]), Err(NoPreface));
        let mut slow = Frames::default();
        assert_eq!(slow.read(b"PRI * HTTP"), Ok(0));
        assert!(!slow.greeted());
        assert_eq!(slow.read(b"/1.0"), Err(NoPreface));
    }
}
