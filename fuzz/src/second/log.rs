//! Where the batches of a log segment are, read from the layout alone (`replica/src/log/record.rs`), no checksum believed.

const BLOCK: usize = 4096;
const HEADER: usize = 24;

/// First byte and end of every batch in an intact segment.
pub fn batches(segment: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(end) = end(segment, at) {
        found.push((at, end));
        at = end.next_multiple_of(BLOCK);
    }
    found
}

fn end(segment: &[u8], mut at: usize) -> Option<usize> {
    let batch = segment.get(at + 8..at + 16)?.to_vec();
    loop {
        let head = segment.get(at..at + HEADER)?;
        let kind = head[20];
        if kind == 0 || head[8..16] != batch {
            return None;
        }
        at += HEADER + u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        if head[21] == 1 {
            return (at <= segment.len()).then_some(at);
        }
    }
}
