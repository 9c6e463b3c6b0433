//! How a reducer may walk over the values of a key (Hadoop's `TestValueIterReset`, `TestReduceTask`).

use windrow::{
    Result,
    mapreduce::{Context, IdentityMapper, Job, Reducer, Values},
};

use super::{check, sorted};

/// Keys with 1, 2, … many values each.
fn rows() -> Vec<(i64, String)> {
    let value = |key: i64, number: i64| format!("value {number:05} of {key}, which is longer than twelve bytes");
    (0..40).flat_map(|key| (0..key * key).map(move |number| (key, value(key, number)))).collect()
}

/// Looks at so many values of each key, asks on behind the end, and says what it saw.
#[derive(Clone)]
struct Looks {
    at_most: usize,
}

impl Reducer for Looks {
    type Key = i64;
    type Value = String;
    type Out = (i64, (i64, String));

    fn reduce(
        &mut self,
        key: i64,
        values: &mut Values<'_, '_, i64, String>,
        context: &mut Context<'_, (i64, (i64, String))>,
    ) -> Result<()> {
        let (mut seen, mut last) = (0, String::new());
        while seen < self.at_most {
            let Some(value) = values.next() else {
                assert!(values.next().is_none() && values.next_pair().is_none() && values.count() == 0);
                break;
            };
            assert!(last.as_str() < value, "values of {key} come in the order of their content");
            seen += 1;
            value.clone_into(&mut last);
        }
        context.emit((key, (seen as i64, &last)));
        Ok(())
    }
}

#[test]
fn a_reducer_may_stop_early_or_ask_on_behind_the_end() {
    for at_most in [0, 1, 100, usize::MAX] {
        let found = check(|session| {
            let input = session.from_vec(rows()).unwrap();
            let job = Job::new(input, IdentityMapper::default()).parts(4).reduce(Looks { at_most }).unwrap();
            sorted(job.collect().unwrap().0)
        });
        let expected: Vec<_> = (1..40)
            .map(|key| {
                let all: Vec<String> = rows().into_iter().filter(|row| row.0 == key).map(|row| row.1).collect();
                let seen = all.len().min(at_most);
                (key, (seen as i64, if seen == 0 { String::new() } else { all[seen - 1].clone() }))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn values_are_counted_and_kept() {
    /// Counts the values behind the first one; or keeps all.
    #[derive(Clone)]
    struct Rest;
    impl Reducer for Rest {
        type Key = i64;
        type Value = String;
        type Out = (i64, i64);
        fn reduce(
            &mut self,
            key: i64,
            values: &mut Values<'_, '_, i64, String>,
            context: &mut Context<'_, (i64, i64)>,
        ) -> Result<()> {
            let count = if key % 2 == 0 {
                values.next().map_or(0, |_| 1) + values.count()
            } else {
                // To see them twice they are kept.
                let kept = values.to_vec();
                assert!(kept.is_sorted());
                kept.iter().chain(&kept).count() as i64 / 2
            };
            context.emit((key, count));
            Ok(())
        }
    }
    let found = check(|session| {
        let input = session.from_vec(rows()).unwrap();
        sorted(Job::new(input, IdentityMapper::default()).reduce(Rest).unwrap().collect().unwrap().0)
    });
    assert_eq!(found, (1..40).map(|key| (key, key * key)).collect::<Vec<_>>());
}
