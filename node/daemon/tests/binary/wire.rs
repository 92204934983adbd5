//! HTTP/2 by hand, as no well-behaved client speaks it (RFC 9113).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header field, literal and not indexed (RFC 7541, section 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(&mut bytes, text.len());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A length with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
}

/// The head of a call.
pub(crate) fn call(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "attack"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A connection with the preface said.
pub(crate) fn connect(address: &str) -> TcpStream {
    let mut stream = silent(address);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("sent");
    stream
}

/// A connection that says nothing.
pub(crate) fn silent(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    stream.set_write_timeout(Some(Duration::from_millis(2_000))).expect("set");
    stream
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The code of a GOAWAY, if one came.
    pub(crate) goaway: Option<u32>,
    /// Resets of streams that came.
    pub(crate) resets: usize,
    /// Answers with another status than 200, before any gRPC.
    pub(crate) refusals: usize,
    /// Whether the connection is closed.
    pub(crate) closed: bool,
}

/// Reads until the other side has closed, or for so long.
pub(crate) fn end_of(stream: &mut TcpStream, patience: Duration) -> Ended {
    let until = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut closed = false;
    let mut piece = [0; 65_536];
    while !closed && Instant::now() < until {
        match stream.read(&mut piece) {
            Ok(0) => closed = true,
            Ok(count) => bytes.extend(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => closed = true,
        }
    }
    /// `:status: 200` as everybody writes it (RFC 7541, appendix A).
    const FINE: u8 = 0x88;
    let (mut goaway, mut resets, mut refusals, mut at) = (None, 0, 0, 0);
    while let Some(head) = bytes.get(at..at + 9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        match head[3] {
            RST_STREAM => resets += 1,
            HEADERS => refusals += usize::from(bytes.get(at + 9).is_some_and(|first| *first != FINE)),
            7 => goaway = bytes.get(at + 13..at + 17).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])),
            _ => {}
        }
        at += 9 + length;
    }
    Ended { goaway, resets, refusals, closed }
}
