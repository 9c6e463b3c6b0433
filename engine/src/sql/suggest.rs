//! Did you mean …?
//!
//! In: a word that is not known and the words that are. Out: the few that somebody may have meant, the nearest first. Never: a word
//! that has little in common with it.

/// Most words that are suggested.
const SUGGESTIONS_MAX: usize = 3;
/// Longer words are not compared: the work grows with the square.
const WORD_CHARACTERS_MAX: usize = 128;

/// The known words near to `word`.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let word = word.to_lowercase();
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let far = 1 + word.chars().count().max(lower.chars().count()) / 4;
            let distance = distance(&word, &lower)?;
            // Half a word typed is no misspelling, yet what was meant is clear: shipdate, l_shipdate.
            let is_part = word.len() >= 3 && (lower.contains(&word) || word.contains(&lower) && lower.len() >= 3);
            (distance <= far || is_part).then_some((distance, candidate))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().take(SUGGESTIONS_MAX).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// As the end of a hint: "did you mean a, b or c?"
pub(super) fn did_you_mean(candidates: &[String]) -> Option<String> {
    // A name with capitals is only found in quotes.
    let written = |name: &String| {
        if name.chars().any(char::is_uppercase) { format!("\"{name}\"") } else { name.clone() }
    };
    let written: Vec<String> = candidates.iter().map(written).collect();
    match written.as_slice() {
        [] => None,
        [only] => Some(format!("did you mean {only}?")),
        [most @ .., last] => Some(format!("did you mean {} or {last}?", most.join(", "))),
    }
}

/// How many characters to insert, drop, replace or swap with their neighbour (optimal string alignment, after Damerau 1964).
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > WORD_CHARACTERS_MAX || b.len() > WORD_CHARACTERS_MAX {
        return None;
    }
    // Three rows of the table: before the last, last, this one.
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (vec![0; b.len() + 1], (0..=b.len()).collect());
    for i in 1..=a.len() {
        let mut this = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            this[j] = replaced.min(last[j] + 1).min(this[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                this[j] = this[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, this);
    }
    last.last().copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_and_swaps() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("form", "from", 1), ("äb", "ab", 1)]
        {
            assert_eq!(distance(a, b), Some(edits), "{a} {b}");
            assert_eq!(distance(b, a), Some(edits), "{b} {a}");
        }
    }

    #[test]
    fn suggests_the_nearest_first_and_nothing_far() {
        let columns = ["l_shipdate", "l_shipmode", "l_orderkey", "l_comment"];
        assert_eq!(near("l_shpidate", columns), ["l_shipdate"]);
        assert_eq!(near("shipdate", columns), ["l_shipdate"]);
        assert_eq!(near("xyz", columns), Vec::<String>::new());
        assert_eq!(did_you_mean(&near("L_COMENT", columns)).unwrap(), "did you mean l_comment?");
    }
}
