//! Little-endian reading that checks every length, for rows and commands encoded by hand.

/// The bytes ended before the field did, or went on after the last one.
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

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], OutOfBytes> {
        let (front, rest) = self.rest.split_first_chunk::<N>().ok_or(OutOfBytes)?;
        self.rest = rest;
        Ok(*front)
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

    /// A byte that must be 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, OutOfBytes> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(OutOfBytes),
        }
    }

    /// A presence byte, then the number, which is 0 where absent.
    pub(crate) fn option_u64(&mut self) -> Result<Option<u64>, OutOfBytes> {
        match (self.flag()?, self.u64()?) {
            (true, value) => Ok(Some(value)),
            (false, 0) => Ok(None),
            (false, _) => Err(OutOfBytes),
        }
    }

    /// A count, then so many items of at least `least` bytes each. Nothing is set aside that the bytes could not fill.
    pub(crate) fn list<T>(
        &mut self,
        least: usize,
        read: impl Fn(&mut Self) -> Result<T, OutOfBytes>,
    ) -> Result<Vec<T>, OutOfBytes> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / least {
            return Err(OutOfBytes);
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<(), OutOfBytes> {
        if self.rest.is_empty() { Ok(()) } else { Err(OutOfBytes) }
    }
}

/// What [`Reader::option_u64`] reads: 9 bytes.
pub(crate) fn put_option_u64(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(&value.unwrap_or(0).to_le_bytes());
}

/// What [`Reader::flag`] reads.
pub(crate) fn put_flag(out: &mut Vec<u8>, flag: bool) {
    out.push(u8::from(flag));
}

/// What [`Reader::list`] reads.
pub(crate) fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    items.iter().for_each(|item| put(out, item));
}
