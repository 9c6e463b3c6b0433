//! Inside what the bytes of a split end, and where its first record starts.
//!
//! In: bytes, and inside what those before them end. Out: the same for those after them. Never: looks at more than quotes and the bytes beside
//! them, and the first record's end.
//!
//! A quote opens only where a field begins: after a comma, a record's end or nothing. All other quotes outside of quotes are a field's own.

use crate::format::Border;

/// Inside what `bytes` end when those before them end inside `before`.
pub(super) fn follow(before: Border, bytes: &[u8]) -> Border {
    let (mut is_quoted, mut at) = begin(before, bytes);
    let is_blank = || bytes.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
    if bytes.is_empty() || (before == Border::Start && is_blank()) {
        return before;
    }
    while let Some(found) = memchr::memchr(b'"', bytes.get(at..).unwrap_or_default()) {
        let quote = at + found;
        at = quote + 1;
        if !is_quoted {
            is_quoted = opens(before, bytes, quote);
            continue;
        }
        match bytes.get(at) {
            Some(b'"') => at += 1,
            Some(_) => is_quoted = false,
            None => return Border::Quote,
        }
    }
    match bytes.last() {
        _ if is_quoted => Border::Quoted,
        Some(b'\n' | b'\r') => Border::Record,
        Some(b',') => Border::Field,
        Some(_) => Border::Inside,
        None => before,
    }
}

/// Where the first record starts in `text`; its end if none does.
pub(super) fn first_record(before: Border, text: &[u8]) -> usize {
    if matches!(before, Border::Start | Border::Record) {
        return 0;
    }
    let (mut is_quoted, mut at) = begin(before, text);
    while at < text.len() {
        if is_quoted {
            let Some(found) = memchr::memchr(b'"', &text[at..]) else { break };
            at += found + 1;
            match text.get(at) {
                Some(b'"') => at += 1,
                _ => is_quoted = false,
            }
            continue;
        }
        let Some(found) = memchr::memchr3(b'"', b'\n', b'\r', &text[at..]) else { break };
        let place = at + found;
        at = place + 1;
        if text[place] != b'"' {
            return at;
        }
        is_quoted = opens(before, text, place);
    }
    text.len()
}

/// Whether the text begins inside quotes, and from where on to look.
fn begin(before: Border, text: &[u8]) -> (bool, usize) {
    match before {
        Border::Quoted => (true, 0),
        Border::Quote if text.first() == Some(&b'"') => (true, 1),
        _ => (false, 0),
    }
}

/// Whether the quote at `at`, outside of quotes, opens.
fn opens(before: Border, text: &[u8], at: usize) -> bool {
    match at.checked_sub(1).map(|at| text[at]) {
        None => matches!(before, Border::Start | Border::Record | Border::Field),
        Some(byte) => matches!(byte, b',' | b'\n' | b'\r'),
    }
}
