//! In which order, and in which part (Hadoop's `TestComparators`, `SecondarySort`, `TestTotalOrderPartitioner`, `TestKeyFieldBasedPartitioner`).

use std::collections::BTreeMap;

use windrow::{
    Kind, Result,
    dataset::{asc, desc},
    mapreduce::{Context, IdentityMapper, Job, Partitioner, Reducer, Values},
};

use super::{check, sorted};

/// A key of a group and an order in it, and a value.
type Row = ((String, i64), i64);

fn rows() -> Vec<Row> {
    (0..1_200).map(|k: i64| ((format!("group {}", k * k % 17), k * 7919 % 300), k % 3)).collect()
}

/// Says of each group, in the order of its part, which second columns and values it saw, in order.
#[derive(Clone, Default)]
struct Said {
    groups: i64,
}

impl Reducer for Said {
    type Key = (String, i64);
    type Value = i64;
    type Out = (u32, (i64, String));

    fn reduce(
        &mut self,
        (group, _): (&str, i64),
        values: &mut Values<'_, '_, (String, i64), i64>,
        context: &mut Context<'_, (u32, (i64, String))>,
    ) -> Result<()> {
        let mut text = format!("{group}:");
        while let Some(((of, second), value)) = values.next_pair() {
            assert_eq!(of, group);
            text.push_str(&format!(" {second}/{value}"));
        }
        self.groups += 1;
        context.emit((context.part().unwrap(), (self.groups, &text)));
        Ok(())
    }
}

fn said(mut rows: Vec<Row>, by: impl Fn(&Row) -> (i64, i64)) -> Vec<String> {
    rows.sort_by_key(|row| (row.0.0.clone(), by(row)));
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    for ((group, second), value) in rows {
        groups.entry(group.clone()).or_insert_with(|| format!("{group}:")).push_str(&format!(" {second}/{value}"));
    }
    groups.into_values().collect()
}

#[test]
fn values_come_in_the_order_of_the_rest_of_the_key() {
    let found = check(|session| {
        let input = session.from_vec(rows()).unwrap();
        let job = Job::new(input, IdentityMapper::default()).group_by(1).reduce(Said::default()).unwrap();
        sorted(job.collect().unwrap().0.into_iter().map(|row| row.1.1).collect())
    });
    assert_eq!(found, sorted(said(rows(), |row| (row.0.1, row.1))));
}

#[test]
fn values_and_groups_come_in_an_order_that_is_asked_for() {
    let found = check(|session| {
        let input = || session.from_vec(rows()).unwrap();
        let job = || Job::new(input(), IdentityMapper::default()).group_by(1).parts(1);
        let backwards = job().in_order_of([desc("_0_1"), asc("_1")]).reduce(Said::default()).unwrap();
        // With the group's own column first groups come in its order, too.
        let all_backwards = job().in_order_of([desc("_0_0"), desc("_0_1")]).reduce(Said::default()).unwrap();
        // As text with numbers in it is sorted by people.
        let number = |(group, _): (&str, i64)| group.trim_start_matches("group ").parse::<i64>().unwrap();
        let by_number = job().sort_as(number).reduce(Said::default()).unwrap();
        [backwards, all_backwards, by_number].map(|job| sorted(job.collect().unwrap().0))
    });
    let in_order = |rows: &[(u32, (i64, String))]| -> Vec<String> {
        assert!(rows.iter().enumerate().all(|(place, row)| (row.0, row.1.0) == (0, place as i64 + 1)));
        rows.iter().map(|row| row.1.1.clone()).collect()
    };
    let [backwards, all_backwards, by_number] = found.each_ref().map(|rows| in_order(rows));
    assert_eq!(backwards, said(rows(), |row| (-row.0.1, row.1)));
    let mut expected = said(rows(), |row| (-row.0.1, row.1));
    expected.reverse();
    assert_eq!(all_backwards, expected);
    let mut expected = said(rows(), |row| (row.0.1, row.1));
    expected.sort_by_key(|text| text[6..].split(':').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(by_number, expected);
}

/// By the last digit of the group.
struct LastDigit {
    too_much: u32,
}

impl Partitioner<(String, i64), i64> for LastDigit {
    fn part(&self, (group, _): (&str, i64), _value: i64, parts: u32) -> u32 {
        u32::from(group.as_bytes().last().unwrap() - b'0') % parts + self.too_much
    }
}

#[test]
fn a_partitioner_says_which_part_a_key_is_of() {
    let found = check(|session| {
        let input = session.from_vec(rows()).unwrap();
        let job =
            Job::new(input, IdentityMapper::default()).group_by(1).parts(3).partitioner(LastDigit { too_much: 0 });
        sorted(job.reduce(Said::default()).unwrap().collect().unwrap().0)
    });
    let mut groups = 0;
    for part in 0..3 {
        let of_part: Vec<_> = found.iter().filter(|row| row.0 == part).collect();
        let names: Vec<_> = of_part.iter().map(|row| row.1.1.split(':').next().unwrap()).collect();
        assert!(
            names.is_sorted()
                && names.iter().all(|name| { u32::from(name.as_bytes().last().unwrap() - b'0') % 3 == part }),
            "{names:?}"
        );
        groups += of_part.len();
    }
    assert_eq!(groups, said(rows(), |_| (0, 0)).len());
}

#[test]
fn a_part_that_is_not_there_is_told_with_its_key() {
    let error = check(|session| {
        let input = session.from_vec(vec![(("group 7".to_owned(), 42), 1)]).unwrap();
        let job = Job::new(input, IdentityMapper::default()).parts(3).partitioner(LastDigit { too_much: 5 });
        let error = job.reduce(Said::default()).unwrap().collect().unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        error.to_string()
    });
    assert!(
        error.contains("group 7, 42") && error.contains("LastDigit") && error.contains("part 6; there are 3"),
        "{error}"
    );
}

#[test]
fn parts_in_total_order_follow_each_other() {
    let found = check(|session| {
        let input = session.from_vec(rows()).unwrap();
        let job = Job::new(input, IdentityMapper::default()).total_order().parts(5).group_by(1);
        sorted(job.reduce(Said::default()).unwrap().collect().unwrap().0)
    });
    // Sorted by (part, place in it): so are the groups.
    let texts: Vec<String> = found.iter().map(|row| row.1.1.clone()).collect();
    assert_eq!(texts, said(rows(), |row| (row.0.1, row.1)));
    let parts: Vec<u32> = found.iter().map(|row| row.0).collect();
    assert!(parts.first() == Some(&0) && parts.last() == Some(&4), "{parts:?}");
}

#[test]
fn what_cannot_be_grouped_or_cut_is_told() {
    check(|session| {
        let job = || Job::new(session.from_vec(rows()).unwrap(), IdentityMapper::default());
        for wrong in [job().group_by(0), job().group_by(3), job().parts(0), job().parts(1 << 20)] {
            assert_eq!(wrong.reduce(Said::default()).err().unwrap().kind(), Kind::Request);
        }
        let number = |(_, number): (&str, i64)| number;
        for wrong in
            [job().sort_as(number), job().in_order_of([desc("_0_0")]), job().partitioner(LastDigit { too_much: 0 })]
        {
            assert_eq!(wrong.total_order().group_by(1).reduce(Said::default()).err().unwrap().kind(), Kind::Request);
        }
        assert!(job().in_order_of([asc("nothing")]).reduce(Said::default()).is_err());
    });
}
