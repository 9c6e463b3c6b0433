//! The generators as their users see them: right rows, the same bytes always, whole files or none.
//!
//! In: options. Out: passed or failed. Never: a file outside a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File},
    path::Path,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, basic::Compression, file::metadata::ParquetMetaData,
};
use tempfile::TempDir;
use tpchgen::generators::{LineItemGenerator, PartSuppGenerator};
use tpchgen_arrow::{LineItemArrow, PartSuppArrow};
use windrow_datasets::{
    CLUSTERS_MAX, DBBENCH_ROWS_MAX, DIMENSIONS_MAX, DatasetError, DbBenchOptions, GROUPS_ROWS_MAX, GraphOptions,
    GroupsOptions, KeyType, PointsOptions, ROWS_PER_ROW_GROUP, SCALE_MAX, TEXT_KEYS_MAX, THREADS_MAX, Table,
    TextOptions, TpchOptions, write_dbbench, write_graph, write_groups, write_points, write_text, write_tpch,
};

/// The names of all that lies in `folder`, hidden files too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text_options(out: &Path, bytes: u64, seed: u64) -> TextOptions {
    TextOptions { bytes, seed, out: out.into(), overwrite: false }
}

fn text(bytes: u64, seed: u64) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("text.txt");
    let written = write_text(&text_options(&out, bytes, seed)).unwrap();
    let text = fs::read(&out).unwrap();
    assert_eq!(written.path, out);
    assert_eq!(written.bytes, text.len() as u64);
    assert_eq!(written.rows, text.iter().filter(|&&byte| byte == b'\n').count() as u64);
    assert_eq!(names(folder.path()), ["text.txt"]);
    text
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn metadata(path: &Path) -> ParquetMetaData {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    ParquetMetaData::clone(builder.metadata())
}

/// All rows of a file, in batches of 8,192.
fn rows(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    builder.with_batch_size(8_192).build().unwrap().map(Result::unwrap).collect()
}

#[test]
fn tpch_has_the_rows_of_dbgen() {
    let folder = TempDir::new().unwrap();
    // A folder that is not there yet is made.
    let out = folder.path().join("deep/tpch");
    let written = write_tpch(&TpchOptions { threads: 2, ..TpchOptions::new(0.01, &out) }).unwrap();
    let expected = [
        ("nation", 25),
        ("region", 5),
        ("part", 2_000),
        ("supplier", 100),
        ("partsupp", 8_000),
        ("customer", 1_500),
        ("orders", 15_000),
        ("lineitem", 60_175),
    ];
    assert_eq!(written.len(), expected.len());
    for (written, (name, rows)) in written.iter().zip(expected) {
        assert_eq!(written.path, out.join(format!("{name}.parquet")));
        assert_eq!(written.rows, rows, "{name}");
        assert_eq!(written.bytes, fs::metadata(&written.path).unwrap().len(), "{name}");
        assert_eq!(metadata(&written.path).file_metadata().num_rows() as u64, rows, "{name}");
    }
    assert_eq!(names(&out).len(), expected.len(), "only the tables: {:?}", names(&out));
}

#[test]
fn tpch_bytes_do_not_depend_on_threads() {
    let folder = TempDir::new().unwrap();
    // Large enough for several parts and several row groups.
    let tables = vec![Table::Lineitem, Table::Partsupp, Table::Nation, Table::Nation];
    let files = [1, 3, 16].map(|threads| {
        let out = folder.path().join(threads.to_string());
        let options = TpchOptions { threads, tables: tables.clone(), ..TpchOptions::new(0.1, out) };
        write_tpch(&options).unwrap().into_iter().map(|written| fs::read(written.path).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(files[0].len(), 3, "a table named twice is written once");
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn tpch_parts_join_to_the_whole_table() {
    let folder = TempDir::new().unwrap();
    let tables = vec![Table::Lineitem, Table::Partsupp];
    let written = write_tpch(&TpchOptions { threads: 2, tables, ..TpchOptions::new(0.1, folder.path()) }).unwrap();

    let whole = PartSuppArrow::new(PartSuppGenerator::new(0.1, 1, 1)).with_batch_size(8_192);
    assert!(rows(&written[0].path) == whole.map(Result::unwrap).collect::<Vec<_>>());
    let whole = LineItemArrow::new(LineItemGenerator::new(0.1, 1, 1)).with_batch_size(8_192);
    assert!(rows(&written[1].path) == whole.map(Result::unwrap).collect::<Vec<_>>());

    let metadata = metadata(&written[1].path);
    let group_rows: Vec<usize> = metadata.row_groups().iter().map(|group| group.num_rows() as usize).collect();
    let (last, others) = group_rows.split_last().unwrap();
    assert_eq!(group_rows.len(), 5);
    assert!(others.iter().all(|&rows| rows == ROWS_PER_ROW_GROUP) && *last <= ROWS_PER_ROW_GROUP, "{group_rows:?}");
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        assert_eq!(column.compression(), Compression::SNAPPY);
        assert!(column.statistics().is_some() && column.column_index_offset().is_some(), "{:?}", column.column_path());
    }
}

#[test]
fn tpch_refuses_bad_options_and_touches_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("tpch");
    for scale in [0.0, -1.0, 0.000_09, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, SCALE_MAX + 1.0] {
        let error = write_tpch(&TpchOptions::new(scale, &out)).unwrap_err();
        assert!(matches!(error, DatasetError::Scale { .. }), "{scale}: {error}");
    }
    for threads in [0, THREADS_MAX + 1] {
        let error = write_tpch(&TpchOptions { threads, ..TpchOptions::new(0.01, &out) }).unwrap_err();
        assert!(matches!(error, DatasetError::Threads { .. }), "{threads}: {error}");
    }
    for (scale, table) in [(720.0, Table::Lineitem), (SCALE_MAX, Table::Part)] {
        let error = write_tpch(&TpchOptions::new(scale, &out)).unwrap_err();
        assert!(matches!(error, DatasetError::TooManyRows { table: found, .. } if found == table), "{scale}: {error}");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn an_existing_output_is_refused_unless_overwritten() {
    let folder = TempDir::new().unwrap();
    let region = folder.path().join("region.parquet");
    fs::write(&region, "kept").unwrap();
    let mut options =
        TpchOptions { tables: vec![Table::Nation, Table::Region], ..TpchOptions::new(0.01, folder.path()) };
    let error = write_tpch(&options).unwrap_err();
    assert!(matches!(&error, DatasetError::Exists { path } if *path == region), "{error}");
    assert_eq!(fs::read(&region).unwrap(), b"kept");
    assert_eq!(names(folder.path()), ["region.parquet"], "nation is not written either");

    options.overwrite = true;
    write_tpch(&options).unwrap();
    assert_eq!(names(folder.path()), ["nation.parquet", "region.parquet"]);
    assert_eq!(metadata(&region).file_metadata().num_rows(), 5);

    let out = folder.path().join("text.txt");
    fs::write(&out, "kept").unwrap();
    let error = write_text(&text_options(&out, 100, 1)).unwrap_err();
    assert!(matches!(&error, DatasetError::Exists { path } if *path == out), "{error}");
    assert_eq!(fs::read(&out).unwrap(), b"kept");
    write_text(&TextOptions { overwrite: true, ..text_options(&out, 100, 1) }).unwrap();
    assert_eq!(fs::read(&out).unwrap().len(), 100);
}

#[test]
fn a_place_that_cannot_be_written_is_a_typed_error_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    // Permissions would not stop a test that runs as root; a file in the place of a folder stops everyone.
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let error = write_tpch(&TpchOptions::new(0.01, file.join("tpch"))).unwrap_err();
    let is_expected = matches!(error, DatasetError::Look { .. } | DatasetError::CreateFolder { .. });
    assert!(is_expected && std::error::Error::source(&error).is_some(), "{error:?}");
    let error = write_text(&text_options(&file.join("text.txt"), 100, 1)).unwrap_err();
    assert!(matches!(error, DatasetError::Look { .. } | DatasetError::CreateFolder { .. }), "{error:?}");
    assert!(matches!(write_text(&text_options(Path::new("/"), 1, 1)), Err(DatasetError::NoFileName { .. })));

    // A failure after the bytes were written: the name is taken by a folder, which no file can replace.
    let taken = folder.path().join("text.txt");
    fs::create_dir(&taken).unwrap();
    let error = write_text(&TextOptions { overwrite: true, ..text_options(&taken, 100, 1) }).unwrap_err();
    assert!(matches!(&error, DatasetError::Rename { path, .. } if *path == taken), "{error:?}");
    assert_eq!(names(folder.path()), ["file", "text.txt"]);
}

#[test]
fn text_is_the_same_bytes_forever() {
    let text = text(1 << 20, 1);
    assert_eq!(fnv(&text), 0xe42b_84d3_4fb1_9ac5, "{:#018x}: {}", fnv(&text), String::from_utf8_lossy(&text[..200]));
}

#[test]
fn text_has_exactly_the_size_asked_for_and_goes_on_where_it_was_cut() {
    let long = text(2 << 20, 7);
    for bytes in (0..300).chain([262_143, 262_144, 262_145, 1_000_000]) {
        let text = text(bytes, 7);
        assert_eq!(text.len() as u64, bytes);
        if let Some((last, before)) = text.split_last() {
            assert_eq!(*last, b'\n', "{bytes} bytes");
            assert!(long.starts_with(before), "{bytes} bytes");
        }
    }
    assert_ne!(fnv(&text(1_000, 7)), fnv(&text(1_000, 8)));
}

#[test]
fn text_is_like_a_language() {
    let text = String::from_utf8(text(4 << 20, 3)).unwrap();
    let mut counts = std::collections::HashMap::new();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.pop(); // cut to fit
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        assert!((8..=16).contains(&words.len()), "{line}");
        for word in words {
            assert!((2..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            *counts.entry(word).or_insert(0_u32) += 1;
        }
    }
    let words: u32 = counts.values().sum();
    let bytes_per_word = lines.iter().map(|line| line.len() + 1).sum::<usize>() as f64 / f64::from(words);
    assert!((5.6..5.8).contains(&bytes_per_word), "{bytes_per_word} bytes a word");
    // Zipf: the first word has about 1 / H(50,000) = 8.8 % of the text, ten times as much as the tenth.
    let mut counts: Vec<u32> = counts.into_values().collect();
    counts.sort_unstable_by(|left, right| right.cmp(left));
    assert!((0.085..0.091).contains(&(f64::from(counts[0]) / f64::from(words))), "{} of {words}", counts[0]);
    assert!((9.0..11.0).contains(&(f64::from(counts[0]) / f64::from(counts[9]))), "{} and {}", counts[0], counts[9]);
    assert!((35_000..=50_000).contains(&counts.len()), "{} words", counts.len());
}

fn groups_options(out: &Path, rows: u64, keys: u64, key_type: KeyType) -> GroupsOptions {
    GroupsOptions { rows, keys, key_type, threads: 2, out: out.into(), overwrite: false }
}

/// How often each key occurs, and the sum of its values; a number as key as its digits.
fn grouped(path: &Path) -> std::collections::HashMap<String, (u64, i64)> {
    let mut groups = std::collections::HashMap::new();
    for batch in rows(path) {
        let (keys, values) = (batch.column(0), batch.column(1).as_primitive::<Int64Type>());
        assert_eq!(keys.null_count() + values.null_count(), 0);
        for row in 0..batch.num_rows() {
            let key = match keys.as_string_opt::<i32>() {
                Some(texts) => texts.value(row).to_owned(),
                None => keys.as_primitive::<UInt64Type>().value(row).to_string(),
            };
            let (count, sum) = groups.entry(key).or_insert((0, 0));
            assert!((0..100).contains(&values.value(row)));
            (*count, *sum) = (*count + 1, *sum + values.value(row));
        }
    }
    groups
}

#[test]
fn groups_have_exactly_the_keys_asked_for() {
    let folder = TempDir::new().unwrap();
    for (number, (rows, keys)) in
        [(0, 5), (1, 1), (5, 10), (10_000, 1), (10_000, 777), (20_000, 20_000)].into_iter().enumerate()
    {
        for key_type in [KeyType::Number, KeyType::Text] {
            let out = folder.path().join(format!("{number}-{key_type:?}.parquet"));
            let written = write_groups(&groups_options(&out, rows, keys, key_type)).unwrap();
            assert_eq!((written.rows, written.bytes), (rows, fs::metadata(&out).unwrap().len()));
            let groups = grouped(&out);
            assert_eq!(groups.len() as u64, keys.min(rows), "{rows} rows, {keys} keys");
            let counts: Vec<u64> = groups.values().map(|(count, _)| *count).collect();
            assert_eq!(counts.iter().sum::<u64>(), rows);
            if let (Some(least), Some(most)) = (counts.iter().min(), counts.iter().max()) {
                assert!(most - least <= 1, "{least} to {most} rows a key");
            }
            match key_type {
                KeyType::Text => assert!(groups.keys().all(|key| key.len() == 12 && key.starts_with("id"))),
                // Half of many keys are in the upper half of all numbers.
                KeyType::Number if groups.len() > 100 => {
                    let upper = groups.keys().filter(|key| key.parse::<u64>().unwrap() >> 63 == 1).count();
                    let share = upper as f64 / groups.len() as f64;
                    assert!((0.4..0.6).contains(&share), "{share}");
                }
                KeyType::Number => {}
            }
        }
    }
}

#[test]
fn groups_are_the_same_bytes_forever_on_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    // More than one row group.
    for (key_type, expected) in [(KeyType::Number, 0x69fe_3063_61cc_90fb), (KeyType::Text, 0x207d_5e77_468f_be9b)] {
        let file = |threads| {
            let out = folder.path().join(format!("{threads}-{key_type:?}.parquet"));
            write_groups(&GroupsOptions { threads, ..groups_options(&out, 1_100_000, 50_000, key_type) }).unwrap();
            (fnv(&fs::read(&out).unwrap()), out)
        };
        let ((one, out), (three, _)) = (file(1), file(3));
        assert_eq!(one, three);
        // The rows, not the bytes: those are of the Parquet writer's version too.
        let sum = rows(&out).iter().fold(0_u64, |hash, batch| {
            let bytes = batch.columns().iter().flat_map(|column| {
                let data = column.to_data();
                let buffer = data.buffers().last().unwrap();
                let (start, end) = match column.as_string_opt::<i32>() {
                    Some(texts) => (texts.value_offsets()[0] as usize, texts.value_offsets()[texts.len()] as usize),
                    None => (data.offset() * 8, (data.offset() + data.len()) * 8),
                };
                buffer[start..end].to_vec()
            });
            hash.wrapping_mul(31).wrapping_add(fnv(&bytes.collect::<Vec<u8>>()))
        });
        assert_eq!(sum, expected, "{key_type:?}: {sum:#018x}");
        let metadata = metadata(&out);
        let group_rows: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(group_rows, [1 << 20, 1_100_000 - (1 << 20)]);
        assert!(
            metadata
                .row_groups()
                .iter()
                .flat_map(|group| group.columns())
                .all(|column| column.compression() == Compression::SNAPPY)
        );
    }
}

#[test]
fn groups_refuse_bad_options_and_touch_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("groups.parquet");
    let good = groups_options(&out, 10, 10, KeyType::Text);
    for keys in [0, TEXT_KEYS_MAX + 1] {
        let error = write_groups(&GroupsOptions { keys, ..good.clone() }).unwrap_err();
        assert!(matches!(error, DatasetError::Keys { .. }), "{keys}: {error}");
    }
    let error = write_groups(&GroupsOptions { rows: GROUPS_ROWS_MAX + 1, ..good.clone() }).unwrap_err();
    assert!(matches!(error, DatasetError::Rows { .. }), "{error}");
    for threads in [0, THREADS_MAX + 1] {
        let error = write_groups(&GroupsOptions { threads, ..good.clone() }).unwrap_err();
        assert!(matches!(error, DatasetError::Threads { .. }), "{threads}: {error}");
    }
    assert!(names(folder.path()).is_empty());
    fs::write(&out, "kept").unwrap();
    assert!(matches!(write_groups(&good), Err(DatasetError::Exists { path }) if path == out));
    assert_eq!(fs::read(&out).unwrap(), b"kept");
    write_groups(&GroupsOptions { overwrite: true, ..good }).unwrap();
    assert_eq!(names(folder.path()), ["groups.parquet"]);
    assert_eq!(grouped(&out).len(), 10);
}

fn dbbench_options(out: &Path, rows: u64) -> DbBenchOptions {
    DbBenchOptions { rows, keys: 100, seed: 108, threads: 2, out: out.into(), overwrite: false }
}

/// A column of whole numbers of a table of the db-benchmark.
fn numbers(folder: &Path, table: &str, column: &str) -> Vec<i32> {
    let batches = rows(&folder.join(format!("{table}.parquet")));
    let column =
        |batch: &RecordBatch| batch.column_by_name(column).unwrap().as_primitive::<Int32Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

fn texts(folder: &Path, table: &str, column: &str) -> Vec<String> {
    let batches = rows(&folder.join(format!("{table}.parquet")));
    let text = |batch: &RecordBatch| -> Vec<String> {
        batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    };
    batches.iter().flat_map(text).collect()
}

#[test]
fn the_table_to_group_has_the_public_columns() {
    let folder = TempDir::new().unwrap();
    let written = write_dbbench(&dbbench_options(folder.path(), 100_000)).unwrap();
    let names: Vec<String> =
        written.iter().map(|file| file.path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["g1", "x", "small", "medium", "big"]);
    assert_eq!(written.iter().map(|file| file.rows).collect::<Vec<_>>(), [100_000, 100_000, 10, 100, 100_000]);
    for (column, count) in [("id4", 100), ("id5", 100), ("id6", 1_000), ("v1", 5), ("v2", 15)] {
        let mut values = numbers(folder.path(), "g1", column);
        assert_eq!(values.len(), 100_000);
        // Uniform: the mean is in the middle, and every value occurs.
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / 100_000.0;
        assert!((mean / f64::from(count + 1) - 0.5).abs() < 0.01, "{column}: {mean}");
        values.sort_unstable();
        values.dedup();
        assert!(values.iter().copied().eq(1..=count), "{column}");
    }
    for (column, count, digits) in [("id1", 100, 3), ("id2", 100, 3), ("id3", 1_000, 10)] {
        let mut values = texts(folder.path(), "g1", column);
        values.sort();
        values.dedup();
        assert!(
            values.iter().eq(&(1..=count).map(|value| format!("id{value:0digits$}")).collect::<Vec<_>>()),
            "{column}"
        );
    }
    let batches = rows(&folder.path().join("g1.parquet"));
    let prices: Vec<f64> = batches
        .iter()
        .flat_map(|b| b.column_by_name("v3").unwrap().as_primitive::<Float64Type>().values().to_vec())
        .collect();
    assert!(prices.iter().all(|price| (0.0..=100.0).contains(price) && (price * 1e6).round() / 1e6 == *price));
    assert!((prices.iter().sum::<f64>() / 100_000.0 - 50.0).abs() < 0.5);
}

#[test]
fn nine_of_ten_keys_of_the_tables_to_join_are_in_both() {
    for (rows, key_counts) in
        [(20_000, [10, 20, 20_000]), (1_000, [10, 10, 1_000]), (7, [7, 7, 7]), (1, [1, 1, 1]), (0, [0, 0, 0])]
    {
        let folder = TempDir::new().unwrap();
        write_dbbench(&dbbench_options(folder.path(), rows)).unwrap();
        let set = |table: &str, column: &str| {
            numbers(folder.path(), table, column).into_iter().collect::<std::collections::BTreeSet<i32>>()
        };
        for (table, key, count) in
            [("small", "id1", key_counts[0]), ("medium", "id2", key_counts[1]), ("big", "id3", key_counts[2])]
        {
            // Each key once on the right, all of them on the left too.
            let right = numbers(folder.path(), table, key);
            assert_eq!(right.len(), count, "{table} of {rows} rows");
            let (left, right) = (set("x", key), right.into_iter().collect::<std::collections::BTreeSet<_>>());
            assert_eq!((left.len(), right.len()), (count, count), "{table} of {rows} rows");
            assert_eq!(left.intersection(&right).count(), count - count / 10, "{table} of {rows} rows");
            assert!(left.union(&right).copied().eq(1..=(count + count / 10) as i32), "{table} of {rows} rows");
        }
        // The other keys are the same ones wherever they stand.
        assert!(rows < 1_000 || set("big", "id1") == set("small", "id1") && set("big", "id2") == set("medium", "id2"));
        for (number, text) in [("id1", "id4"), ("id2", "id5"), ("id3", "id6")] {
            let same = |table: &str| {
                let expected =
                    numbers(folder.path(), table, number).iter().map(|key| format!("id{key}")).collect::<Vec<_>>();
                assert_eq!(texts(folder.path(), table, text), expected, "{table} {text}");
            };
            ["x", "big"].into_iter().for_each(same);
        }
        // Nobody could profit from an order.
        if rows >= 1_000 {
            for table in ["x", "big"] {
                let keys = numbers(folder.path(), table, "id3");
                let rise = keys.windows(2).filter(|pair| pair[0] < pair[1]).count() as f64 / rows as f64;
                assert!((0.4..0.6).contains(&rise), "{table}: {rise}");
            }
            let aligned = numbers(folder.path(), "x", "id3")
                .iter()
                .zip(numbers(folder.path(), "big", "id3"))
                .filter(|(a, b)| *a == b)
                .count();
            assert!(aligned < 10, "{aligned} rows stand beside their like");
        }
    }
}

#[test]
fn dbbench_is_the_same_bytes_forever_on_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let files = |threads: usize, seed: u64| -> Vec<u64> {
        let out = folder.path().join(format!("{threads} {seed}"));
        // More than one row group.
        let options = DbBenchOptions { threads, seed, ..dbbench_options(&out, 1_100_000) };
        write_dbbench(&options).unwrap().iter().map(|file| fnv(&fs::read(&file.path).unwrap())).collect()
    };
    let one = files(1, 108);
    assert_eq!(one, files(3, 108));
    let other = files(2, 1);
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    // The rows, not the bytes: those are of the Parquet writer's version too.
    let out = folder.path().join("1 108");
    let numbers = [("g1", "id6"), ("x", "id3"), ("medium", "id1"), ("big", "id2")].map(|(table, column)| {
        fnv(&numbers(&out, table, column).iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    });
    assert_eq!(
        numbers,
        [0xc708_ff27_c03d_4590, 0xd4fb_0fa0_b981_ba93, 0xedeb_3831_7431_1c2f, 0xf7a4_5dff_53d1_f06a],
        "{numbers:#018x?}"
    );
    for table in ["g1", "x", "big"] {
        let group_rows: Vec<i64> =
            metadata(&out.join(format!("{table}.parquet"))).row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(group_rows, [1 << 20, 1_100_000 - (1 << 20)]);
    }
}

#[test]
fn dbbench_refuses_bad_options_and_touches_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("dbbench");
    let good = dbbench_options(&out, 10);
    for keys in [0, DBBENCH_ROWS_MAX + 1] {
        let error = write_dbbench(&DbBenchOptions { keys, ..good.clone() }).unwrap_err();
        assert!(matches!(error, DatasetError::Keys { .. }), "{keys}: {error}");
    }
    let error = write_dbbench(&DbBenchOptions { rows: DBBENCH_ROWS_MAX + 1, ..good.clone() }).unwrap_err();
    assert!(matches!(error, DatasetError::Rows { .. }), "{error}");
    for threads in [0, THREADS_MAX + 1] {
        let error = write_dbbench(&DbBenchOptions { threads, ..good.clone() }).unwrap_err();
        assert!(matches!(error, DatasetError::Threads { .. }), "{threads}: {error}");
    }
    assert!(names(folder.path()).is_empty());
    // One of the files is there: none is written.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("medium.parquet"), "kept").unwrap();
    assert!(matches!(write_dbbench(&good), Err(DatasetError::Exists { path }) if path == out.join("medium.parquet")));
    assert_eq!(names(&out), ["medium.parquet"]);
    write_dbbench(&DbBenchOptions { overwrite: true, ..good }).unwrap();
    assert_eq!(names(&out), ["big.parquet", "g1.parquet", "medium.parquet", "small.parquet", "x.parquet"]);
}

// ── graph, points ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn batches(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn graph_options(out: &Path) -> GraphOptions {
    GraphOptions { scale: 12, edges: 1_100_000, seed: 1, threads: 3, out: out.into(), overwrite: false }
}

#[test]
fn a_graph_has_a_few_vertices_of_very_many_edges() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("edges.parquet");
    assert_eq!(write_graph(&graph_options(&out)).unwrap().rows, 1_100_000);
    let mut degrees = [vec![0u64; 1 << 12], vec![0u64; 1 << 12]];
    for batch in batches(&out) {
        for (column, degrees) in batch.columns().iter().zip(&mut degrees) {
            column.as_primitive::<UInt32Type>().values().iter().for_each(|vertex| degrees[*vertex as usize] += 1);
        }
    }
    for degrees in &mut degrees {
        let (first, last) = degrees.split_at(1 << 11);
        let share = first.iter().sum::<u64>() as f64 / (first.iter().sum::<u64>() + last.iter().sum::<u64>()) as f64;
        assert!((0.3..0.7).contains(&share), "the number of a vertex tells its degree: {share}");
        degrees.sort_unstable();
        // The heaviest vertex has, of n levels, always the half with 76 %.
        let expected = 1_100_000.0 * 0.76f64.powi(12);
        assert!((degrees[(1 << 12) - 1] as f64 / expected - 1.0).abs() < 0.02, "{degrees:?} {expected}");
    }
}

#[test]
fn graphs_and_points_are_the_same_bytes_on_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let mut seen = Vec::new();
    for threads in [1, 3] {
        let (edges, points) = (folder.path().join(format!("e{threads}")), folder.path().join(format!("p{threads}")));
        write_graph(&GraphOptions { threads, ..graph_options(&edges) }).unwrap();
        write_points(&PointsOptions { threads, ..points_options(&points) }).unwrap();
        seen.push((fnv(&fs::read(edges).unwrap()), fnv(&fs::read(points).unwrap())));
    }
    assert_eq!(seen[0], seen[1]);
}

fn points_options(out: &Path) -> PointsOptions {
    let (rows, dimensions, clusters) = (1_050_000, 2, 3);
    PointsOptions { rows, dimensions, clusters, seed: 1, threads: 3, out: out.into(), overwrite: false }
}

#[test]
fn points_lie_around_their_centres() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("points.parquet");
    assert_eq!(write_points(&points_options(&out)).unwrap().rows, 1_050_000);
    let mut points = Vec::new();
    for batch in batches(&out) {
        let column = |number: usize| batch.column(number).as_primitive::<Float32Type>().values().to_vec();
        points.extend(column(0).into_iter().zip(column(1)));
    }
    let mut centres: Vec<(f32, f32, u32)> = Vec::new();
    for (x, y) in points {
        assert!(x * 1024.0 == (x * 1024.0).trunc() && x.abs() <= 72.0, "{x}");
        match centres.iter_mut().find(|(cx, cy, _)| (x - cx).abs() <= 16.0 && (y - cy).abs() <= 16.0) {
            Some((_, _, count)) => *count += 1,
            None => centres.push((x, y, 1)),
        }
    }
    assert_eq!(centres.len(), 3, "{centres:?}");
    assert!(centres.iter().all(|(_, _, count)| (340_000..360_000).contains(count)), "{centres:?}");
}

#[test]
fn graphs_and_points_refuse_bad_options_and_touch_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out.parquet");
    for scale in [0, 33] {
        let error = write_graph(&GraphOptions { scale, ..graph_options(&out) }).unwrap_err();
        assert!(matches!(error, DatasetError::GraphScale { .. }), "{error}");
    }
    for dimensions in [0, DIMENSIONS_MAX + 1] {
        let error = write_points(&PointsOptions { dimensions, ..points_options(&out) }).unwrap_err();
        assert!(matches!(error, DatasetError::Dimensions { .. }), "{error}");
    }
    for clusters in [0, CLUSTERS_MAX + 1] {
        let error = write_points(&PointsOptions { clusters, ..points_options(&out) }).unwrap_err();
        assert!(matches!(error, DatasetError::Clusters { .. }), "{error}");
    }
    assert!(names(folder.path()).is_empty());
}
