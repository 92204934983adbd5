//! The window: frames that are on their way, in bytes.

use std::collections::VecDeque;

use meridian_model::Offset;

#[derive(Clone, Debug)]
pub(super) struct Window {
    bytes_max: usize,
    bytes: usize,
    /// Where each frame ends, and its bytes, in the order in which they were sent.
    frames: VecDeque<(Offset, usize)>,
    watermark: Offset,
}

impl Window {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, frames: VecDeque::new(), watermark: Offset(0) }
    }

    pub(super) fn watermark(&self) -> Offset {
        self.watermark
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes may be sent now. With nothing on its way, something always may.
    pub(super) fn room(&self) -> usize {
        let room = self.bytes_max.saturating_sub(self.bytes);
        if planted!(WindowUnbounded) {
            return self.bytes_max;
        }
        if self.frames.is_empty() { room.max(1) } else { room }
    }

    pub(super) fn sent(&mut self, to: Offset, bytes: usize) {
        self.frames.push_back((to, bytes));
        self.bytes += bytes;
    }

    pub(super) fn arrived(&mut self, watermark: Offset) {
        self.watermark = self.watermark.max(watermark);
        while let Some((to, bytes)) = self.frames.front()
            && *to <= watermark
        {
            self.bytes -= bytes;
            self.frames.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}
