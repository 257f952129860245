//! Where the batches of a log segment are, read from the layout alone (`replica/src/log/record.rs`), no checksum believed.

const BLOCK: usize = 4096;
const HEADER: usize = 24;

/// Segment, first byte and end of every batch in an intact log; segments in the order of their names. What a segment holds
/// of an earlier life has smaller numbers than what stands before it.
pub fn batches(segments: &[Vec<u8>]) -> Vec<(usize, usize, usize)> {
    let (mut found, mut last) = (Vec::new(), 0);
    for (file, segment) in segments.iter().enumerate() {
        let mut at = 0;
        while let Some((number, end)) = batch(segment, at).filter(|(number, _)| *number > last) {
            found.push((file, at, end));
            (last, at) = (number, end.next_multiple_of(BLOCK));
        }
    }
    found
}

/// Number and end of the batch that begins there.
fn batch(segment: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let batch = segment.get(at + 8..at + 16)?.to_vec();
    let number = u64::from_le_bytes(batch[..].try_into().ok()?);
    loop {
        let head = segment.get(at..at + HEADER)?;
        let kind = head[20];
        if kind == 0 || head[8..16] != batch {
            return None;
        }
        at += HEADER + u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        if head[21] == 1 {
            return (at <= segment.len()).then_some((number, at));
        }
    }
}
