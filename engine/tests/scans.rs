//! What is not done twice or in vain: rows that a scan's filters do not let through, rows that can have no partner in a join, groupings that
//! stand in several places.
//!
//! In: queries whose joins are by columns of the scan, so that keys of a build side filter it; the same by `k + 0`, where nothing can. Out: both
//! give the same rows, with the filter seen in the plan. Never: an answer that could come about without the filter being asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    arrow::ArrowWriter,
    column::writer::ColumnWriter,
    data_type::{ByteArray, FixedLenByteArray},
    file::{
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use windrow::{
    Session, Settings,
    batch::{
        Batch,
        array::{ArrayRef, Int64Array, StringArray},
        util::pretty::pretty_format_batches,
    },
};

/// 6 000 facts in row groups of 512; every seventh key is NULL. 300 dimensions, of which one in ten has the colour red.
fn tables(folder: &Path) -> Session {
    let keys = |step: i64| (0..6_000).map(move |row: i64| (row % 7 != 3).then_some(row * step % 1_000 - 500));
    let facts = Batch::try_from_iter_with_nullable([
        ("k", Arc::new(Int64Array::from_iter(keys(31))) as ArrayRef, true),
        ("far", Arc::new(Int64Array::from_iter(keys(17).map(|k| k.map(|k| k << 40)))) as ArrayRef, true),
        ("v", Arc::new(Int64Array::from_iter_values(0..6_000)) as ArrayRef, false),
        ("word", Arc::new(StringArray::from_iter_values((0..6_000).map(|row| format!("word {}", row % 90)))), false),
    ]);
    let colour = |row: i64| if row % 10 == 4 { "red" } else { "green" };
    let dims = Batch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from_iter((0..300).map(|row| (row != 14).then_some(row * 3 - 450)))) as ArrayRef,
            true,
        ),
        (
            "far_id",
            Arc::new(Int64Array::from_iter_values((0..300).map(|row| (row * 3 - 450) << 40))) as ArrayRef,
            false,
        ),
        ("name", Arc::new(StringArray::from_iter_values((0..300).map(|row| format!("word {row}")))), false),
        ("colour", Arc::new(StringArray::from_iter_values((0..300).map(colour))), false),
    ]);
    for (name, batch) in [("facts", facts.unwrap()), ("dims", dims.unwrap())] {
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(512));
        write(&folder.join(format!("{name}.parquet")), &batch, properties);
    }
    session(folder, 2, 16_384, None)
}

fn write(path: &Path, batch: &Batch, properties: WriterPropertiesBuilder) {
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn session(folder: &Path, threads: usize, rows_per_morsel: usize, revocable_bytes: Option<u64>) -> Session {
    let spill_folders = vec![folder.to_owned()];
    let memory_bytes = 64 << 20;
    let settings = Settings { threads, rows_per_morsel, revocable_bytes, memory_bytes, spill_folders };
    Session::new(settings).unwrap()
}

fn text(session: &Session, query: &str) -> String {
    let answer = session.query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    pretty_format_batches(&answer.batches).unwrap().to_string()
}

/// The one row of an answer.
fn row(session: &Session, query: &str) -> String {
    let text = text(session, query);
    let row = text.lines().nth(3).unwrap_or_else(|| panic!("{query}: {text}"));
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A query with `{k}` and `{far}` for the facts' keys, `{name}` for a dimension's, and how many scans are filtered by keys.
const QUERIES: [(&str, usize); 14] = [
    ("select count(*), sum(v), min(name) from facts join dims on {k} = id where colour = 'red'", 1),
    ("select count(*), sum(v), min(name) from facts join dims on {far} = far_id where colour = 'red'", 1),
    ("select count(*), sum(v) from facts join dims on {k} = id and {far} = far_id where colour = 'red'", 1),
    ("select count(*), sum(v) from facts join dims on {k} = id where colour = 'blue'", 1),
    ("select count(*), sum(v) from facts where {k} in (select id from dims where colour = 'red')", 1),
    (
        "select count(*), sum(v) from facts where v > 100 and exists (select 1 from dims where colour = 'red' and id = {k})",
        1,
    ),
    (
        "select count(*), sum(v), sum(n) from dims join (select {k} as key, count(*) n, sum(v) v from facts group by 1) g \
         on id = key where colour = 'red'",
        1,
    ),
    (
        "select count(*), sum(facts.v) from facts join dims a on {k} = a.id join dims b on {far} = b.far_id \
         where a.colour = 'red' and b.colour = 'green' and b.name < 'word 2'",
        2,
    ),
    ("select count(*), sum(id), count({k}) from facts, dims where colour = 'red' and word = {name} and v % 2 = 0", 1),
    // What has no partner is given, or tells: no scan of the facts may leave it out.
    ("select count(*), sum(v), count(name) from facts left join dims on {k} = id and colour = 'red'", 0),
    (
        "select count(*), sum(v), count(name) from facts full join (select * from dims where colour = 'red') d on {k} = id",
        0,
    ),
    (
        "select count(*), sum(v) from facts where {k} not in (select id from dims where colour = 'red' and id is not null)",
        0,
    ),
    ("select count(*), sum(v) from facts where not exists (select 1 from dims where colour = 'red' and id = {k})", 0),
    ("select count(*), sum(v) from facts where {k} in (select id from dims where colour = 'red') or v < 50", 0),
];

#[test]
fn keys_of_a_build_side_leave_out_only_what_has_no_partner() {
    let folder = tempfile::tempdir().unwrap();
    let first = tables(folder.path());
    let path = |name: &str| format!("'{}'", folder.path().join(format!("{name}.parquet")).display());
    let query = |template: &str, k: &str, far: &str, name: &str| {
        let query = template.replace("{k}", k).replace("{far}", far).replace("{name}", name);
        query.replace("from facts", &format!("from {} facts", path("facts"))).replace("dims", "dims_")
    };
    // Names of tables stay aliases: `dims a` and `from dims` alike.
    let named = |query: String| {
        let dims = path("dims");
        query
            .replace("dims_ a ", &format!("{dims} a "))
            .replace("dims_ b ", &format!("{dims} b "))
            .replace("dims_", &dims)
    };
    for (template, filtered) in QUERIES {
        let filter = named(query(template, "facts.k", "facts.far", "name"));
        let plain = named(query(template, "(facts.k + 0)", "(facts.far + 0)", "name || ''"));
        let plan = text(&first, &format!("explain {filter}"));
        assert_eq!(plan.matches("among the keys of").count(), filtered, "{filter}\n{plan}");
        let expected = row(&first, &plain);
        for (threads, rows, revocable) in [(1, 16_384, None), (2, 100, None), (3, 1, None), (2, 64, Some(0))] {
            let session = session(folder.path(), threads, rows, revocable);
            assert_eq!(row(&session, &filter), expected, "{threads} threads, {rows} rows, {revocable:?}: {filter}");
        }
    }
}

#[test]
fn a_scan_tests_rows_in_the_order_of_its_conditions() {
    let folder = tempfile::tempdir().unwrap();
    let session = tables(folder.path());
    let facts = format!("'{}'", folder.path().join("facts.parquet").display());
    let one = |query: &str| row(&session, &query.replace("facts", &facts));
    // Neither a row that is left out by an earlier condition nor one for which that is NULL reaches the division.
    assert_eq!(one("select count(*) from facts where k > 0 and 1000 / k >= 500"), "| 10 |");
    assert_eq!(one("select count(*) from facts where k <> 0 and 10 / k = 10"), "| 5 |");
    let error = session.query(&format!("select count(*) from {facts} where 10 / k = 10")).unwrap_err();
    assert_eq!(error.kind(), windrow::Kind::Job, "{error:?}");
    assert!(error.to_string().contains('/'), "{error:?}");
    // Filters over columns that are not given, over none that is read, over no rows at all.
    assert_eq!(one("select count(*) from facts where word = 'word 7'"), "| 67 |");
    assert_eq!(one("select count(*) from facts where v >= 5990 and word like 'word 5%'"), "| 10 |");
    assert_eq!(one("select count(word) from facts where v < 0"), "| 0 |");
    assert_eq!(one("select sum(v) from facts where 1 = 2"), "| |");
}

#[test]
fn a_grouping_in_several_places_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = tables(folder.path());
    let facts = format!("'{}'", folder.path().join("facts.parquet").display());
    let grouping = |by: &str| format!("(select {by} as word, sum(v) as s from {facts} group by {by})");
    let query = |again: &str| {
        let one = grouping("word");
        format!(
            "select count(*), min(a.word), sum(a.s), sum(b.s) from {one} a join {again} b on a.word = b.word \
             where a.s > (select avg(s) from {one}) and b.s < 202000"
        )
    };
    let (same, other) = (query(&grouping("word")), query(&grouping("word || ''")));
    let plan = text(&first, &format!("explain {same}"));
    assert_eq!((plan.matches("scan facts").count(), plan.matches("from shared rows #").count()), (1, 3), "{plan}");
    let plan = text(&first, &format!("explain {other}"));
    assert_eq!((plan.matches("scan facts").count(), plan.matches("from shared rows #").count()), (2, 2), "{plan}");
    for (threads, rows, revocable) in [(1, 16_384, None), (2, 7, None), (2, 64, Some(0))] {
        let session = session(folder.path(), threads, rows, revocable);
        assert_eq!(row(&session, &same), row(&session, &other), "{threads} threads, {rows} rows, {revocable:?}");
    }
    // Of 90 words 30 have a sum above the mean and below 202 000.
    assert_eq!(row(&first, &same), "| 30 | word 15 | 6028995 | 6028995 |");
}

#[test]
fn groupings_of_long_lists_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(folder.path(), 1, 16_384, None);
    let list = |twelfth: i64| {
        let values: Vec<String> = (1..=25).map(|n| format!("({})", if n == 12 { twelfth } else { n })).collect();
        format!("(select sum(x) s from (values {}) t(x))", values.join(", "))
    };
    let query = format!("select a.s, b.s, c.s from {} a, {} b, {} c", list(12), list(999), list(12));
    assert_eq!(row(&session, &query), "| 325 | 1312 | 325 |");
}

#[test]
fn a_very_long_row_group_is_tested_batch_by_batch() {
    const ROWS: i64 = 1_100_000;
    let folder = tempfile::tempdir().unwrap();
    let word = |row: i64| format!("word {}", row / 1_000 % 90);
    let batch = Batch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(0..ROWS)) as ArrayRef),
        ("word", Arc::new(StringArray::from_iter_values((0..ROWS).map(word))) as ArrayRef),
    ]);
    let batch = batch.unwrap();
    let path = folder.path().join("long.parquet");
    // Without an index of its pages it cannot be cut.
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS as usize))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    write(&path, &batch, properties);

    let session = session(folder.path(), 2, 16_384, None);
    let is_left = |row: i64| row % 7 == 3 && row / 1_000 % 90 == 5 && row > 100_000;
    let (mut count, mut sum) = (0, 0);
    (0..ROWS).filter(|row| is_left(*row)).for_each(|row| (count, sum) = (count + 1, sum + row));
    let path = path.display();
    let filter = "n % 7 = 3 and word = 'word 5' and n > 100000";
    // The given column is tested, is not, is none.
    let found = row(&session, &format!("select count(*), sum(n) from '{path}' where {filter}"));
    assert_eq!(found, format!("| {count} | {sum} |"));
    let found = row(&session, &format!("select count(*), min(word) from '{path}' where n % 7 = 3 and n > 100000"));
    let all = (100_001..ROWS).filter(|row| row % 7 == 3).count();
    assert_eq!(found, format!("| {all} | word 0 |"));
    let found = row(&session, &format!("select count(*) from '{path}' where {filter}"));
    assert_eq!(found, format!("| {count} |"));
}

/// 40 000 rows in order of `n`, in a single row group: pages of a few hundred rows, other ones of the text than of the numbers.
fn paged(path: &Path, is_indexed: bool) {
    const ROWS: i64 = 40_000;
    let word = |row: i64| format!("a rather long word {} {}", row / 100, "x".repeat((row % 37) as usize));
    let sparse = |row: i64| (row % 11 > 3).then_some(row / 4_000 * 10);
    let batch = Batch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from_iter_values(0..ROWS)) as ArrayRef, false),
        ("sparse", Arc::new(Int64Array::from_iter((0..ROWS).map(sparse))) as ArrayRef, true),
        ("mixed", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| row * 7_919 % 10_007))) as ArrayRef, false),
        ("word", Arc::new(StringArray::from_iter_values((0..ROWS).map(word))) as ArrayRef, false),
    ]);
    let properties = WriterProperties::builder()
        .set_write_batch_size(50)
        .set_data_page_row_count_limit(300)
        .set_data_page_size_limit(5_000)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("sparse".into(), true);
    let unindexed =
        WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    write(path, &batch.unwrap(), if is_indexed { properties } else { unindexed });
}

#[test]
fn a_row_group_is_read_in_pieces_and_only_pages_that_may_matter() {
    let folder = tempfile::tempdir().unwrap();
    let (indexed, plain) = (folder.path().join("indexed.parquet"), folder.path().join("plain.parquet"));
    paged(&indexed, true);
    paged(&plain, false);
    let dims = Batch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(20_000..20_500)) as ArrayRef)]);
    write(&folder.path().join("dims.parquet"), &dims.unwrap(), WriterProperties::builder());
    let dims = format!("'{}'", folder.path().join("dims.parquet").display());
    // With each query the part of all bytes that it may read, in hundredths.
    let queries = [
        ("select count(*), sum(n), sum(sparse), sum(mixed), min(word), max(word) from {t}".to_owned(), 115),
        ("select count(*), sum(n), min(word), max(word) from {t} where n between 12345 and 13456".to_owned(), 8),
        ("select count(*), sum(mixed), min(word) from {t} where sparse = 50 and mixed % 3 = 1".to_owned(), 20),
        ("select count(*), min(word) from {t} where sparse is null and n > 39000".to_owned(), 8),
        ("select count(*), sum(n), max(word) from {t} where mixed < 100".to_owned(), 115),
        ("select count(*) from {t} where n = 40000".to_owned(), 0),
        (format!("select count(*), sum(mixed), max(word) from {{t}} join {dims} d on n = id"), 8),
        (format!("select count(*), sum(mixed) from {{t}} where n in (select id from {dims} where id % 7 = 0)"), 8),
        ("select n, sparse, mixed, word from {t} order by mixed, n limit 20".to_owned(), 115),
        ("select n, word from {t} limit 5 offset 23456".to_owned(), 115),
    ];
    for (query, _) in &queries {
        assert!(query.contains("{t}"));
    }
    let whole = session(folder.path(), 1, 1 << 20, None);
    for (threads, rows_per_morsel) in [(1, 64), (2, 64), (2, 1_000), (3, 16_384)] {
        let session = session(folder.path(), threads, rows_per_morsel, None);
        for (query, share) in &queries {
            let over = |path: &Path| query.replace("{t}", &format!("'{}' t", path.display()));
            let expected = text(&whole, &over(&plain));
            assert_eq!(text(&session, &over(&plain)), expected, "{query}, {threads} threads, not indexed");
            assert_eq!(text(&session, &over(&indexed)), expected, "{query}, {threads} threads");
            let read = session.query(&over(&indexed)).unwrap().report.bytes_in;
            let all = std::fs::metadata(&indexed).unwrap().len();
            assert!(read <= all * share / 100 + 8_000, "{query} read {read} of {all} bytes");
        }
    }
}

/// The values, hundredths, as a file whose decimals are of this physical type.
fn decimals(path: &Path, physical: &str, values: &[i64]) {
    let message = format!("message schema {{ required {physical} d (DECIMAL(12,2)); }}");
    let schema = Arc::new(parse_message_type(&message).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let bytes = |value: &i64| i128::from(*value).to_be_bytes()[3..].to_vec();
    match column.untyped() {
        ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(values, None, None),
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            let values: Vec<FixedLenByteArray> = values.iter().map(|v| ByteArray::from(bytes(v)).into()).collect();
            writer.write_batch(&values, None, None)
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let values: Vec<ByteArray> = values.iter().map(|value| bytes(value).into()).collect();
            writer.write_batch(&values, None, None)
        }
        _ => panic!("{physical}"),
    }
    .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn decimals_are_the_same_however_files_have_them() {
    let folder = tempfile::tempdir().unwrap();
    for (name, physical) in
        [("a_long", "int64"), ("b_fixed", "fixed_len_byte_array(13)"), ("c_bytes", "byte_array"), ("d_long", "int64")]
    {
        let values: Vec<i64> = (-500..1_000).map(|value| value * 7).collect();
        decimals(&folder.path().join(format!("{name}.parquet")), physical, &values);
    }
    let session = session(folder.path(), 2, 100, None);
    for (files, count) in [("a*", 1), ("b*", 1), ("c*", 1), ("[ad]*", 2), ("*", 4)] {
        let query = format!(
            "select count(*), sum(d), max(d), min(d * d), sum(d + 0.01), count(distinct d) from '{}/{files}.parquet' \
             where d > 0.5 and d < 60",
            folder.path().display()
        );
        // 56, 63 … 5 999 hundredths.
        let (rows, sum) = (850, (8..858).sum::<i64>() * 7);
        let hundredths = |value: i64| format!("{}.{:02}", value / 100, value % 100);
        let expected = format!(
            "| {} | {} | 59.99 | 0.3136 | {} | {rows} |",
            rows * count,
            hundredths(sum * count),
            hundredths((sum + rows) * count)
        );
        assert_eq!(row(&session, &query), expected, "{files}");
    }
}

#[test]
fn a_scan_asks_for_the_bound_of_a_top_k() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paged.parquet");
    paged(&path, true);
    let dims =
        Batch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values((0..40_000).step_by(3))) as ArrayRef)]);
    write(&folder.path().join("dims.parquet"), &dims.unwrap(), WriterProperties::builder());
    let (table, dims) = (path.display(), folder.path().join("dims.parquet"));
    let from = [
        format!("'{table}' t"),
        format!("'{table}' t join '{}' d on n = id", dims.display()),
        format!("(select * from '{table}' where mixed < 9000) t"),
    ];
    // Keys with `[` and `]` around columns, how many rows, and the part of all bytes that may be read of the table alone, in hundredths.
    let orders = [
        ("[n]", 5, 45),
        ("[n] desc", 5, 120),
        ("[mixed], [n] desc", 20, 120),
        ("[mixed] desc, [n] + [mixed]", 9, 120),
        ("[sparse] nulls last, [n]", 30, 45),
        ("[sparse] desc nulls first, [mixed]", 40, 120),
        ("[sparse] desc nulls last, [n]", 7, 120),
        ("[sparse] nulls first, [mixed] desc, [n]", 8_000, 120),
        ("[word], [n]", 12, 45),
        ("[word] desc", 3, 120),
        ("[n] / 10, [mixed]", 11, 120),
    ];
    for (threads, rows_per_morsel) in [(1, 64), (2, 1_000), (3, 16_384)] {
        let session = session(folder.path(), threads, rows_per_morsel, None);
        for (order, limit, share) in &orders {
            for (number, from) in from.iter().enumerate() {
                let by =
                    |order: &str| format!("select n, sparse, mixed, word from {from} order by {order} limit {limit}");
                let asked = by(&order.replace(['[', ']'], ""));
                // Where a row may be an error, which rows are looked at must not depend on who was first.
                let is_by_column = !order.contains(" / ") && !order.contains(" + ");
                let plan = text(&session, &format!("explain {asked}"));
                assert_eq!(plan.contains("within the bound of top-k"), is_by_column, "{asked}: {plan}");
                let computed = by(&order.replace("[word]", "(word || '')").replace('[', "(").replace(']', " + 0)"));
                let plan = text(&session, &format!("explain {computed}"));
                assert!(!plan.contains("within the bound of"), "{computed}: {plan}");
                assert_eq!(text(&session, &asked), text(&session, &computed), "{asked}, {threads} threads");
                let read = session.query(&asked).unwrap().report.bytes_in;
                let all = std::fs::metadata(&path).unwrap().len();
                let is_alone = number == 0 && rows_per_morsel == 64 && threads == 1;
                assert!(!is_alone || read <= all * share / 100, "{asked} read {read} of {all} bytes");
            }
        }
    }
}

#[test]
fn splits_have_the_size_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let word = |n: u64| if n.is_multiple_of(3) { format!("a,\n{n}") } else { "wörter ".repeat((n % 5) as usize) };
    let (mut csv, mut json, mut lines) = ("n,word\n".to_owned(), String::new(), String::new());
    for n in 0..2_000 {
        csv.push_str(&format!("{n},\"{}\"\n", word(n)));
        json.push_str(&format!("{{\"n\":{n},\"word\":\"{}\"}}\n", word(n).replace('\n', "\\n")));
        lines.push_str(&format!("{n} {}\r\n", word(n).replace('\n', "")));
    }
    for (name, bytes) in [("t.csv", &csv), ("t.jsonl", &json), ("t.txt", &lines)] {
        std::fs::write(path(name), bytes).unwrap();
    }
    std::fs::write(path("t.bin"), (0..13_000).map(|n| (n * 31 % 251) as u8).collect::<Vec<_>>()).unwrap();
    let mut before = None;
    // The last of it is more than all files, and all of it at once.
    for (number, split_bytes) in [0, 17, 1_000, 4 << 10, 1 << 30].into_iter().enumerate() {
        let session = session(folder.path(), 1 + number % 3, 100, None);
        if split_bytes == 0 {
            let error = session.set_split_bytes(0).unwrap_err();
            assert!(error.is_user() && error.to_string().contains("splits of 0 bytes: they can have 1 to"), "{error}");
            assert!(error.hint().is_some() && session.set_split_bytes((1 << 30) + 1).is_err());
        } else {
            session.set_split_bytes(split_bytes).unwrap();
        }
        session.register("named", &path("t.jsonl")).unwrap();
        let given = |table: &str| text(&session, &format!("select * from {table}"));
        let quoted = |name: &str| format!("'{}'", path(name));
        let records = session.read_fixed(&path("t.bin"), 13).unwrap().collect().unwrap();
        let found = (given(&quoted("t.csv")), given("named"), given(&quoted("t.txt")), records);
        // Rows come in the order of their files, whatever the splits are.
        assert!(*before.get_or_insert_with(|| found.clone()) == found, "splits of {split_bytes} bytes");
        // How many pieces are read tells how many splits there were.
        let answer = session.query(&format!("select count(*) from {}", quoted("t.txt"))).unwrap();
        if split_bytes == 1_000 {
            assert!(answer.report.bytes_in > 3 * lines.len() as u64, "{:?}", answer.report);
        }
    }
    let many = folder.path().join("many.txt");
    File::create(&many).unwrap().set_len((1 << 20) + 1).unwrap();
    let session = session(folder.path(), 1, 100, None);
    session.set_split_bytes(1).unwrap();
    let error = session.query(&format!("select count(*) from '{}'", many.display())).unwrap_err();
    assert!(format!("{error:?}").contains("there would be 1048577") && error.hint().is_some(), "{error:?}");
}

#[test]
fn files_of_several_splits_are_the_same_on_any_threads() {
    const ROWS: i64 = 300_000;
    let folder = tempfile::tempdir().unwrap();
    // Of every three rows one spreads over three lines; commas and quotes stand where a guess would fail.
    let word = |n: i64| if n % 3 == 0 { format!("a \"\n,\n{n}, \"") } else { format!("5\" disk of {n}") };
    let (mut csv, mut json) = ("n,word,half\n".to_owned(), String::new());
    for n in 0..ROWS {
        let word = word(n);
        let quoted = if n % 3 == 0 { format!("\"{}\"", word.replace('"', "\"\"")) } else { word.clone() };
        csv.push_str(&format!("{n},{quoted},{}\r\n", n as f64 / 2.0));
        let escaped = word.replace('"', "\\\"").replace('\n', "\\n");
        json.push_str(&format!("{{\"n\":{n},\"word\":\"{escaped}\",\"half\":{}}}\n", n as f64 / 2.0));
    }
    assert!(csv.len() > 8 << 20);
    let length: usize = (0..ROWS).map(|n| word(n).len()).sum();
    let sums = format!("| {ROWS} | {} | {}.0 | {length} |", ROWS * (ROWS - 1) / 2, ROWS * (ROWS - 1) / 4);
    for (name, text) in [("t.csv", csv), ("t.jsonl", json)] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.display();
        for (threads, rows) in [(1, 16_384), (2, 1_000), (3, 7_777)] {
            let session = session(folder.path(), threads, rows, None);
            let all = format!("select count(*), sum(n), sum(half), sum(length(word)) from '{path}'");
            assert_eq!(row(&session, &all), sums, "{name}, {threads} threads");
            let late = format!("select n from '{path}' where n % 2 = 1 limit 1 offset 140000");
            assert_eq!(row(&session, &late), "| 280001 |", "{name}, {threads} threads");
            assert_eq!(row(&session, &format!("select count(*) from '{path}' where word like 'a%'")), "| 100000 |");
        }
    }
}

/// Words of few values with NULLs in pieces whose dictionaries differ, a word of many values, and numbers.
fn worded() -> Batch {
    let rows = || 0..20_000_i64;
    let short = rows().map(|row| (row % 11 != 5).then(|| format!("w{}", (row * 7 + row / 3_000) % 23)));
    let kind = rows().map(|row| ["AIR", "MAIL", "RAIL", "A LONG WAY BY SEA"][(row / 5_000 + row % 3) as usize % 4]);
    let many = rows().map(|row| format!("word {row}"));
    Batch::try_from_iter_with_nullable([
        ("short", Arc::new(StringArray::from_iter(short)) as ArrayRef, true),
        ("kind", Arc::new(StringArray::from_iter_values(kind)), false),
        ("many", Arc::new(StringArray::from_iter_values(many)), false),
        ("n", Arc::new(Int64Array::from_iter_values(rows().map(|row| row % 50))), false),
        ("far", Arc::new(Int64Array::from_iter(rows().map(|row| (row % 3 != 0).then_some((row % 40) << 40)))), true),
    ])
    .unwrap()
}

/// Queries over `t`, and which columns are read as codes.
const OF_CODES: [(&str, &[&str]); 14] = [
    ("select short, kind, count(*), sum(n) from t group by 1, 2 order by 1, 2", &["kind", "short"]),
    (
        "select kind, n, count(*) from t where short in ('w3', 'w9', 'nothing') group by 1, 2 order by 1, 2",
        &["kind", "short"],
    ),
    ("select short, n % 3, far, count(*) from t group by 1, 2, 3 order by 1, 2, 3", &["short"]),
    ("select count(*), sum(n) from t where kind = 'MAIL' and (short like 'w1%' or short is null)", &["kind", "short"]),
    ("select count(*), sum(n) from t where kind < 'B' or short is not null and n > 20", &["kind", "short"]),
    (
        "select sum(case when kind = 'AIR' then n else 0 end), sum(case when short is null then 1 end) from t",
        &["kind", "short"],
    ),
    ("select kind || '!', count(*) from t where short <> 'w5' group by 1 order by 1", &["kind", "short"]),
    ("select count(*) from t where coalesce(short, 'w3') = 'w3'", &["short"]),
    (
        "select a.kind, count(*), sum(b.n) from t a join t b on a.n = b.far and b.short = 'w7' group by 1 order by 1",
        &["kind", "short"],
    ),
    ("select short, count(distinct n), count(distinct kind) from t group by 1 order by 1", &["short"]),
    // Looked at otherwise: as values.
    ("select min(short), max(kind) from t", &[]),
    ("select short, kind from t order by kind, short limit 30", &[]),
    ("select count(*) from t a join t b on a.short = b.kind || ''", &[]),
    ("select count(*) from t where short = kind or short > many", &[]),
];

#[test]
fn words_are_codes_where_nobody_needs_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let properties = || WriterProperties::builder().set_max_row_group_row_count(Some(3_000));
    write(&path("codes.parquet"), &worded(), properties());
    write(&path("plain.parquet"), &worded(), properties().set_dictionary_enabled(false));
    let of = |query: &str, name: &str| {
        let from = format!("'{}'", path(name).display());
        query.replace("from t", &format!("from {from}")).replace("join t", &format!("join {from}"))
    };
    let first = session(folder.path(), 1, 1_000, None);
    for (query, codes) in OF_CODES {
        let plan = text(&first, &format!("explain {}", of(query, "codes.parquet")));
        let columns = ["kind", "many", "short"];
        let of_line = |line: &str| -> Vec<String> {
            let before = line.split(" as codes").next().unwrap_or_default();
            before.rsplit(", ").map(str::to_owned).take_while(|word| columns.contains(&word.as_str())).collect()
        };
        let lines = plan.lines().filter(|line| line.contains(" as codes"));
        let read: std::collections::BTreeSet<String> = lines.flat_map(of_line).collect();
        assert!(read.iter().eq(codes), "{read:?} in {query}:\n{plan}");
        let plan = text(&first, &format!("explain {}", of(query, "plain.parquet")));
        assert!(!plan.contains("as codes"), "{query}:\n{plan}");
        // Names of columns may have the file's in them.
        let rows = |session: &Session, file: &str| -> Vec<String> {
            text(session, &of(query, file)).lines().skip(3).map(str::to_owned).collect()
        };
        let expected = rows(&first, "plain.parquet");
        for (threads, morsel, revocable) in [(1, 16_384, None), (2, 100, None), (3, 7, None), (2, 64, Some(0))] {
            let found = rows(&session(folder.path(), threads, morsel, revocable), "codes.parquet");
            assert_eq!(found, expected, "{threads} threads, {morsel} rows, {revocable:?}: {query}");
        }
    }
    // A file of a table that has none: all are read as values.
    std::fs::create_dir(path("both")).unwrap();
    for name in ["codes.parquet", "plain.parquet"] {
        std::fs::copy(path(name), path("both").join(name)).unwrap();
    }
    let query = "select kind, count(*) from t where short = 'w1' group by 1 order by 1";
    let plan = text(&first, &format!("explain {}", of(query, "both")));
    assert!(!plan.contains("as codes"), "{plan}");
    // Pages that no row can be in are left out by their statistics, whether values are codes or not.
    let read = |kind: &str| {
        let query = of(&format!("select count(*), sum(n) from t where kind > '{kind}'"), "codes.parquet");
        first.query(&query).unwrap().report.bytes_in
    };
    assert!(read("S") < read("A") / 10, "{} of {}", read("S"), read("A"));
}
