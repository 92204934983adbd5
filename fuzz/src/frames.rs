//! Several byte strings in one input: each preceded by its length, u16 little-endian. The last may be cut short.

/// More than any seed has, so that no input takes for ever.
const FRAMES_MAX: usize = 256;

/// The byte strings of an input.
pub(crate) fn split(mut input: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        frames.push(frame);
        input = rest;
        if frames.len() == FRAMES_MAX {
            break;
        }
    }
    frames
}

/// The input of these byte strings.
pub(crate) fn join<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Vec<u8> {
    let mut input = Vec::new();
    for frame in frames {
        let frame = frame.as_ref();
        input.extend_from_slice(&(frame.len() as u16).to_le_bytes());
        input.extend_from_slice(frame);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_the_last_may_be_short() {
        let frames: [&[u8]; 3] = [b"one", b"", b"three"];
        let input = join(frames);
        assert_eq!(split(&input), frames);
        assert_eq!(split(&input[..input.len() - 2]), [&b"one"[..], b"", b"thr"]);
        assert!(split(&[7]).is_empty());
    }
}
