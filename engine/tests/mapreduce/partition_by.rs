//! `Dataset::partition_by`: rows by a number that a closure gives.

use windrow::{Kind, Result, dataset::desc};

use super::{check, sorted};

#[test]
fn the_rows_of_a_part_are_seen_together_and_in_order() {
    let rows: Vec<(i64, String)> = (0..2_000).map(|k| (k * 7919 % 1_000, format!("row {k}"))).collect();
    let found = check(|session| {
        let parts = session.from_vec(rows.clone()).unwrap().partition_by(7, |(key, _)| (key % 5) as u32);
        let in_order = parts.in_order_of([desc("_0")]).unwrap();
        let texts = in_order.map::<(u32, (i64, String))>(|part, rows| {
            let (mut count, mut last, mut text) = (0, i64::MAX, String::new());
            while let Some((key, row)) = rows.next() {
                assert!(key % 5 == i64::from(part) && key <= last);
                (last, count) = (key, count + 1);
                text.push_str(row);
            }
            (part, (count, text))
        });
        sorted(texts.collect().unwrap())
    });
    let expected: Vec<_> = (0..5i64)
        .map(|part| {
            let mut of_part: Vec<_> = rows.iter().filter(|(key, _)| key % 5 == part).collect();
            of_part.sort_by_key(|(key, row)| (-key, row.clone()));
            let text: String = of_part.iter().map(|(_, row)| row.as_str()).collect();
            (part as u32, (of_part.len() as i64, text))
        })
        .collect();
    assert!(found == expected);
}

#[test]
fn a_part_that_is_not_there_is_told_with_its_row() {
    let error = check(|session| {
        let rows = session.from_vec(vec![(1i64, "one".to_owned()), (2, "two".to_owned())]).unwrap();
        let parts = rows.partition_by(2, |(key, _)| key as u32);
        let error = parts.flat_map::<i64>(|_, rows, out| out.push(rows.count())).collect().unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        error.to_string()
    });
    assert!(error.contains("2, two") && error.contains("part 2; there are 2"), "{error}");
    check(|session| {
        let none = session.from_vec(vec![1i64]).unwrap().partition_by(0, |_| 0).map(|part, _| part);
        let _: Result<Vec<u32>> = none.collect().inspect(|rows| panic!("{rows:?}"));
    });
}
