//! Little-endian reading that checks every length. What it reads from may come from another region.

use meridian_model::Offset;

/// More than any offset, count or epoch ever gets to: sums of two of them do not overflow.
const COUNT_MAX: u64 = u64::MAX / 4;

/// The bytes ended before the field did, went on after the last one, or cannot be what the field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBytes;

/// Reads fields from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], OutOfBytes> {
        let (front, rest) = self.rest.split_first_chunk::<N>().ok_or(OutOfBytes)?;
        self.rest = rest;
        Ok(*front)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], OutOfBytes> {
        let (front, rest) = self.rest.split_at_checked(length).ok_or(OutOfBytes)?;
        self.rest = rest;
        Ok(front)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, OutOfBytes> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, OutOfBytes> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, OutOfBytes> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number that something was counted up to.
    pub(crate) fn count(&mut self) -> Result<u64, OutOfBytes> {
        self.u64().and_then(|count| if count < COUNT_MAX { Ok(count) } else { Err(OutOfBytes) })
    }

    pub(crate) fn offset(&mut self) -> Result<Offset, OutOfBytes> {
        self.count().map(Offset)
    }

    /// A byte that must be 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, OutOfBytes> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(OutOfBytes),
        }
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<(), OutOfBytes> {
        if self.rest.is_empty() { Ok(()) } else { Err(OutOfBytes) }
    }
}
