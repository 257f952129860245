//! Continuation tokens: every place in a listing comes back from its token; whatever else is no token, or another place's.

use arbitrary::Unstructured;
use holdfast_gateway::s3::{token, untoken};
use holdfast_wire::request::ListFrom;

use super::Edit;

/// The target.
pub fn run(data: &[u8]) {
    let _ = judge(&mut Unstructured::new(data));
}

fn judge(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let edits = (0..u.int_in_range(0..=3)?).map(|_| Edit::of(u, 60)).collect::<arbitrary::Result<Vec<_>>>()?;
    let kind = u.int_in_range(0..=3)?;
    let text = String::from_utf8_lossy(u.bytes(u.len())?).into_owned();
    let place = match kind {
        0 => ListFrom::Start,
        1 => ListFrom::AfterPrefix(text.clone()),
        _ => ListFrom::After(text.clone()),
    };
    let made = token(&place);
    assert!(made.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{made:?} needs encoding");
    assert_eq!(untoken(&made).as_ref(), Some(&place));
    let mut bytes = if kind == 3 { text.into_bytes() } else { made.clone().into_bytes() };
    edits.iter().for_each(|edit| edit.apply(&mut bytes));
    let changed = String::from_utf8_lossy(&bytes);
    // Whatever is read is what would be written: no two tokens mean the same.
    if let Some(read) = untoken(&changed) {
        assert_eq!(token(&read), changed, "it is not the token of what it means");
    }
    Ok(())
}
