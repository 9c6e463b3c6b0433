//! Rows of texts below their heads, for people.
//!
//! In: heads, rows of cells. Out: lines in which each column begins at the same place. Never: a letter that would steer a terminal.

use unicode_width::UnicodeWidthStr;

use crate::error::printable;

/// Between two columns.
const GAP: usize = 2;

/// The lines, each with its end; a row may have fewer cells than there are heads.
pub fn columns(heads: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| printable(cell).replace(['\n', '\t'], " ");
    let head: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_below_their_heads() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = columns(&["worker", "n", "why"], &[row(&["w1", "10", "é\n\u{1b}x"]), row(&["a-worker"])]);
        assert_eq!(text, "worker    n   why\nw1        10  é \u{fffd}x\na-worker\n");
    }
}
