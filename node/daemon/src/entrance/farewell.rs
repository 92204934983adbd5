//! Sending somebody away in words: SETTINGS and a GOAWAY whose debug data says why (RFC 9113, section 6.8).

use super::places::Full;
use crate::listen::Io;

/// Why.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// There is no place.
    Full(Full),
    /// This listener speaks TLS only.
    NeedsTls,
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 0xb;
const INADEQUATE_SECURITY: u32 = 0xc;

fn bytes(why: Why) -> Vec<u8> {
    let (code, words) = match why {
        Why::Full(full) => (ENHANCE_YOUR_CALM, full.why()),
        Why::NeedsTls => (INADEQUATE_SECURITY, "this listener speaks TLS only"),
    };
    let length = 8 + words.len() as u32;
    let mut bytes = SETTINGS.to_vec();
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.extend([GOAWAY, 0, 0, 0, 0, 0]);
    bytes.extend(0u32.to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.extend(words.as_bytes());
    bytes
}

/// Writes it and reads on until the other side has hung up: a connection closed with unread bytes is reset, and
/// the words are lost. Bounded by the caller.
pub(super) async fn send(mut io: impl Io, why: Why) {
    use tokio::io::AsyncWriteExt;
    if io.write_all(&bytes(why)).await.is_ok() {
        drain(io).await;
    }
}

/// Closes our side and reads until the other one closes.
pub(super) async fn drain(mut io: impl Io) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _ = io.shutdown().await;
    let mut rest = [0; 1024];
    let mut left = 64_usize;
    while left > 0 && io.read(&mut rest).await.is_ok_and(|count| count > 0) {
        left -= 1;
    }
}

/// Writes it if it can be written at once, and hangs up: whoever comes without end must cost nothing.
pub(super) fn send_now(mut io: Box<dyn Io>, why: Why) {
    use tokio::io::AsyncWrite;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::Pin::new(&mut io).poll_write(&mut context, &bytes(why));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_where_goaway_has_them() {
        let bytes = bytes(Why::NeedsTls);
        assert_eq!(bytes[..9], SETTINGS);
        let length = usize::from(bytes[11]);
        assert_eq!(bytes.len(), 18 + length);
        assert_eq!(&bytes[26..], b"this listener speaks TLS only");
    }
}
