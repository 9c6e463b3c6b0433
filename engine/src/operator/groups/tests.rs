//! Groups against a map of vectors, whatever the threads, the cuts, the memory and the order of arrival.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{GroupCalls, GroupFunction, Groups, GroupsSpec, PartColumn, Pieces, function::Emit};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringViewArray, UInt32Array},
        datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    },
    error::{Kind, Result},
    expression::{Expression, Parameters, SortKey},
    observe::Counters,
    operator::{
        JobContext, Source,
        testing::{Cell, Random, context, context_with, cut, drain, feed, rows_of},
    },
    settings::Settings,
};

/// A part, a key, a value, a text.
type Row = (u32, Option<i64>, i64, String);

const PART: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;

fn input() -> SchemaRef {
    let field = |name: &str, data_type, is_nullable| Field::new(name, data_type, is_nullable);
    Arc::new(Schema::new(vec![
        field("part", DataType::UInt32, false),
        field("key", DataType::Int64, true),
        field("value", DataType::Int64, false),
        field("text", DataType::Utf8View, false),
    ]))
}

fn batch_of(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row.3))),
    ];
    Batch::try_new(input(), columns).unwrap()
}

fn rows(count: usize, keys: usize, random: &mut Random) -> Vec<Row> {
    let row = |random: &mut Random| {
        let key = (!random.chance(5)).then(|| random.below(keys) as i64 - 3);
        let value = random.below(50) as i64;
        (
            random.below(5) as u32,
            key,
            value,
            format!("a text that is long enough to stand outside {value} {}", random.below(9)),
        )
    };
    (0..count).map(|_| row(random)).collect()
}

fn output() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![field("key", DataType::Int64), field("said", DataType::Utf8)]))
}

/// Says of each group its values and texts, as they came; of a part how many groups it had, under the key NULL.
struct Say {
    /// Pieces that it looks at of each group.
    looks_at: usize,
    /// Parts, as often as they were opened.
    opened: Mutex<Vec<u32>>,
}

struct Saying {
    looks_at: usize,
    part: u32,
    group_count: usize,
    latest: Option<Option<i64>>,
}

impl GroupFunction for Say {
    fn open(&self, part: u32, _: &Arc<Counters>) -> Result<Box<dyn GroupCalls>> {
        self.opened.lock().unwrap().push(part);
        Ok(Box::new(Saying { looks_at: self.looks_at, part, group_count: 0, latest: None }))
    }
}

fn said(key: Option<i64>, text: String) -> Batch {
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![key])), Arc::new(StringArray::from(vec![text]))];
    Batch::try_new(output(), columns).unwrap()
}

impl GroupCalls for Saying {
    fn groups(&mut self, pieces: &mut dyn Pieces, emit: Emit<'_>) -> Result<()> {
        let mut group: Option<(Option<i64>, String)> = None;
        let mut looked_at = 0;
        while let Some(piece) = pieces.next()? {
            let keys = piece.batch.column(KEY).as_primitive::<Int64Type>();
            let key = keys.is_valid(piece.rows.start).then(|| keys.value(piece.rows.start));
            if piece.is_first {
                if let Some((key, text)) = group.take() {
                    emit(said(key, text))?;
                }
                // Keys come in order, NULL behind all.
                let rank = |key: Option<i64>| key.unwrap_or(i64::MAX);
                assert!(self.latest.is_none_or(|latest| rank(latest) < rank(key)), "{:?} {key:?}", self.latest);
                self.latest = Some(key);
                self.group_count += 1;
                group = Some((key, String::new()));
                looked_at = 0;
            }
            looked_at += 1;
            if looked_at > self.looks_at {
                continue;
            }
            let (_, text) = group.as_mut().expect("a group begins with its first piece");
            let values = piece.batch.column(VALUE).as_primitive::<Int64Type>();
            let texts = piece.batch.column(3).as_string_view();
            for row in piece.rows {
                text.push_str(&format!("{} {};", values.value(row), texts.value(row)));
            }
        }
        if let Some((key, text)) = group {
            emit(said(key, text))?;
        }
        Ok(())
    }

    fn close(self: Box<Self>, emit: Emit<'_>) -> Result<()> {
        emit(said(None, format!("part {} of {} groups", self.part, self.group_count)))
    }
}

fn spec(part: Option<PartColumn>, function: Arc<dyn GroupFunction>) -> GroupsSpec {
    GroupsSpec {
        part,
        keys: vec![Expression::Column(KEY)],
        order: vec![SortKey { expression: Expression::Column(VALUE), is_descending: true, nulls_first: true }],
        input: input(),
        output: output(),
        function,
        call_site: "tests.rs:1:1",
    }
}

fn say() -> Arc<Say> {
    Arc::new(Say { looks_at: usize::MAX, opened: Mutex::default() })
}

/// What the groups of `rows` say, by part if they have one; parts come in any order.
fn run(
    spec: &GroupsSpec,
    rows: &[Row],
    context: &JobContext,
    threads: usize,
    random: &mut Random,
) -> Result<Vec<Vec<Cell>>> {
    let groups = Groups::new(spec, context, &Arc::new(Parameters::default()))?;
    feed(&groups.sink(), cut(&batch_of(rows), 300, random), threads, random)?;
    let source: Arc<dyn Source> = groups.source();
    let mut given = rows_of(&drain(&source, threads, random)?);
    source.close();
    given.retain(|row| !matches!(&row[1], Cell::Text(text) if text.starts_with("part ") && spec.part.is_none()));
    given.sort();
    Ok(given)
}

/// The same by definition.
fn expected(rows: &[Row], has_parts: bool) -> Vec<Vec<Cell>> {
    let mut groups: BTreeMap<(u32, Option<i64>), Vec<&Row>> = BTreeMap::new();
    let part = |row: &Row| if has_parts { row.0 } else { 0 };
    rows.iter().for_each(|row| groups.entry((part(row), row.1)).or_default().push(row));
    let mut said: Vec<Vec<Cell>> = Vec::new();
    for ((_, key), rows) in &mut groups {
        rows.sort_by_key(|row| (std::cmp::Reverse(row.2), row.0, row.3.clone()));
        let text = rows.iter().map(|row| format!("{} {};", row.2, row.3)).collect();
        said.push(vec![key.map_or(Cell::Null, Cell::Int), Cell::Text(text)]);
    }
    for part in (0..5).filter(|_| has_parts) {
        let count = groups.keys().filter(|(other, _)| *other == part).count();
        if count == 0 {
            continue;
        }
        said.push(vec![Cell::Null, Cell::Text(format!("part {part} of {count} groups"))]);
    }
    said.sort();
    said
}

#[test]
fn each_group_is_seen_once_and_in_order() {
    let mut random = Random(11);
    for (count, keys) in [(0, 1), (1, 1), (700, 1), (2_000, 40), (3_000, 2_900)] {
        let rows = rows(count, keys, &mut random);
        for has_parts in [false, true] {
            let expected = expected(&rows, has_parts);
            let part = has_parts.then_some(PartColumn { column: PART, count: 5 });
            for (threads, rows_per_morsel, revocable_bytes) in
                [(1, 1_000, None), (2, 64, None), (3, 1, None), (1, 100, Some(0)), (3, 64, Some(0))]
            {
                let context =
                    context_with(Settings { threads, rows_per_morsel, revocable_bytes, ..Settings::default() });
                let found = run(&spec(part, say()), &rows, &context, threads, &mut random).unwrap();
                assert_eq!(found, expected, "{count} rows, {keys} keys, {threads} threads, {revocable_bytes:?}");
            }
        }
    }
}

#[test]
fn what_a_closure_does_not_look_at_is_passed_over() {
    let mut random = Random(5);
    let rows = rows(2_000, 3, &mut random);
    let function = Arc::new(Say { looks_at: 0, opened: Mutex::default() });
    let context = context_with(Settings { threads: 1, rows_per_morsel: 50, ..Settings::default() });
    let part = Some(PartColumn { column: PART, count: 6 });
    let found =
        run(&spec(part, Arc::clone(&function) as Arc<dyn GroupFunction>), &rows, &context, 2, &mut random).unwrap();
    assert!(
        found.iter().all(|row| matches!(&row[1], Cell::Text(text) if text.is_empty() || text.starts_with("part ")))
    );
    // Each part is opened and closed once, but for those without rows.
    let mut opened = function.opened.lock().unwrap().clone();
    opened.sort_unstable();
    assert_eq!(opened, [0, 1, 2, 3, 4]);
    let closed = found.iter().filter(|row| matches!(&row[1], Cell::Text(text) if text.starts_with("part ")));
    assert_eq!(closed.count(), 5);
}

#[test]
fn a_part_that_is_not_there_is_the_jobs_error() {
    let mut random = Random(5);
    let rows = rows(500, 3, &mut random);
    for count in [1, 4] {
        let spec = spec(Some(PartColumn { column: PART, count }), say());
        let error = run(&spec, &rows, &context(100), 1, &mut random).unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        assert!(error.to_string().contains("tests.rs:1:1: a row belongs to part"), "{error}");
    }
    for count in [0, 4_097] {
        let spec = spec(Some(PartColumn { column: PART, count }), say());
        assert_eq!(run(&spec, &rows, &context(100), 1, &mut random).unwrap_err().kind(), Kind::Request);
    }
}
