//! A connection whose first byte was looked at and is given back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::layered::{Layered, OnRead};
use crate::listen::Io;

/// The connection, its first byte still to be read.
pub(super) type Sniffed = Layered<First>;

/// The byte, until it is read.
pub(super) struct First(Option<u8>);

impl Sniffed {
    /// Waits for the first byte.
    pub(super) async fn wait(mut io: Box<dyn Io>) -> io::Result<(u8, Self)> {
        let first = io.read_u8().await?;
        Ok((first, Self { hook: First(Some(first)), io }))
    }
}

impl OnRead for First {
    fn poll_read(
        &mut self,
        io: &mut Box<dyn Io>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.0.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(io).poll_read(cx, buf)
    }
}
