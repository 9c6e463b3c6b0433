//! Every row in its group and in order, whatever its type; long rows, short batches, and what a builder holds.

use proptest::prelude::*;

use super::*;
use crate::{
    batch::{
        array::{ArrayRef, Int64Array, StringArray, UInt32Array},
        compute, concat,
        datatypes::{Field, FieldRef, Schema},
        take_rows,
    },
    kernel::testing::{Random, cases, random_array, random_type},
    memory::Governor,
};

fn builder(kernels: &'static Kernels, schema: &SchemaRef, group_count: usize, bytes: usize) -> Builder {
    let governor = Governor::new(1 << 30);
    let options = BuilderOptions { group_count, bytes };
    Builder::with_kernels(kernels, schema, options, &Arc::clone(governor.pool()), governor.reservation("test"))
}

/// Rows by group, put together.
fn split(builder: &mut Builder, batches: &[Batch], groups: &[Vec<u16>]) -> Vec<Vec<Batch>> {
    let mut out = vec![Vec::new(); builder.group_count()];
    for (batch, groups) in batches.iter().zip(groups) {
        let give = &mut |group: usize, batch: Batch, _: u64| {
            out[group].push(batch);
            Ok(())
        };
        builder.push(batch, groups, give).unwrap();
    }
    builder
        .finish(&mut |group, batch, _| {
            out[group].push(batch);
            Ok(())
        })
        .unwrap();
    out
}

/// The values of dictionaries instead of codes: what two of them have in common depends on how batches were cut.
fn plain(batch: &Batch) -> Batch {
    let columns = batch.columns().iter().enumerate().map(|(number, column)| {
        let column = match plain_type(column.data_type()) {
            same if same == *column.data_type() => Arc::clone(column),
            values => compute::cast(column, &values).unwrap(),
        };
        (format!("column{number}"), column)
    });
    let columns: Vec<_> = columns.collect();
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Batch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The type without dictionaries, at any depth: those of several batches together may have more values than there are codes.
fn plain_type(data_type: &DataType) -> DataType {
    use DataType as T;
    let plain = |field: &FieldRef| {
        let data_type = plain_type(field.data_type());
        Arc::new(Field::clone(field).with_data_type(data_type))
    };
    match data_type {
        T::Dictionary(_, values) => T::clone(values),
        T::List(field) => T::List(plain(field)),
        T::LargeList(field) => T::LargeList(plain(field)),
        T::FixedSizeList(field, length) => T::FixedSizeList(plain(field), *length),
        T::Struct(fields) => T::Struct(fields.iter().map(plain).collect()),
        T::Map(field, is_sorted) => T::Map(plain(field), *is_sorted),
        other => other.clone(),
    }
}

/// The specification: for each group its rows, in order of arrival.
fn expected(schema: &SchemaRef, batches: &[Batch], groups: &[Vec<u16>], group: usize) -> Batch {
    let taken: Vec<Batch> = batches
        .iter()
        .zip(groups)
        .map(|(batch, groups)| {
            let rows = (0..batch.num_rows() as u32).filter(|row| usize::from(groups[*row as usize]) == group);
            take_rows(batch, &UInt32Array::from_iter_values(rows)).unwrap()
        })
        .collect();
    concat(schema, &taken).unwrap()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_row_comes_out_in_its_group_and_in_order(seed: u64) {
        let random = &mut Random::new(seed);
        let group_count = random.pick(&[1, 2, 7, 16, 256, 300, 1000]);
        let fields: Vec<Field> = (0..1 + random.below(6))
            .map(|number| {
                let data_type = random_type(random, 2);
                let is_nullable = data_type == DataType::Null || random.chance(60);
                Field::new(format!("column{number}"), data_type, is_nullable)
            })
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let mut batches = Vec::new();
        let mut groups = Vec::new();
        for _ in 0..random.below(5) {
            let rows = random.pick(&[0, 1, 100, 3000]);
            let columns = schema.fields().iter()
                .map(|field| random_array(random, field.data_type(), field.is_nullable(), rows)).collect();
            batches.push(Batch::try_new(Arc::clone(&schema), columns).unwrap());
            let is_skewed = random.chance(30);
            groups.push((0..rows).map(|_| if is_skewed { 0 } else { random.below(group_count) as u16 }).collect());
        }
        for kernels in [Kernels::scalar(), Kernels::portable(), Kernels::detect()] {
            let out = split(&mut builder(kernels, &schema, group_count, 1 << 16), &batches, &groups);
            let batches: Vec<Batch> = batches.iter().map(plain).collect();
            let schema = plain(&Batch::new_empty(Arc::clone(&schema))).schema();
            for (group, found) in out.iter().enumerate() {
                let found = found.iter().map(plain).collect::<Vec<_>>();
                let found = concat(&schema, &found).unwrap();
                found.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                prop_assert_eq!(found, expected(&schema, &batches, &groups, group), "{}", kernels.name());
            }
        }
    }
}

#[test]
fn a_string_longer_than_a_chunk_goes_past_it() {
    // Too long for the one pass, for the first of two, for the second.
    for (group_count, bytes, longest) in [(3, 1 << 14, 1 << 20), (300, 1 << 14, 1 << 20), (300, 1 << 20, 30_000)] {
        let texts: Vec<String> = (0..100).map(|row| "x".repeat(if row == 40 { longest } else { row })).collect();
        let column: ArrayRef = Arc::new(StringArray::from(texts));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let others: ArrayRef = Arc::new(Int64Array::from_iter_values(1000..1100));
        let batch = Batch::try_from_iter([("text", column), ("number", numbers), ("other", others)]).unwrap();
        let groups: Vec<Vec<u16>> = vec![(0..100).map(|row| row % 3 * (group_count / 3)).collect()];
        let batches = [batch.clone()];
        let (schema, group_count) = (batch.schema(), usize::from(group_count));
        let check = |out: Vec<Vec<Batch>>| {
            for (group, found) in out.iter().enumerate() {
                let found = concat(&schema, found).unwrap();
                assert_eq!(found, expected(&schema, &batches, &groups, group));
            }
        };
        let mut builder = builder(Kernels::detect(), &schema, group_count, bytes);
        check(split(&mut builder, &batches, &groups));
        // Laid out for short strings.
        let out = split(&mut builder, &[batch.slice(0, 30)], &[groups[0][..30].to_vec()]);
        assert_eq!(out.iter().flatten().map(Batch::num_rows).sum::<usize>(), 30);
        check(split(&mut builder, &batches, &groups));
        assert_eq!(builder.held_bytes(), 0);
    }
}

#[test]
fn short_batches_for_many_groups_wait_for_others_if_there_is_memory() {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|row| format!("text {row}"))));
    let batch = Batch::try_from_iter([("text", texts)]).unwrap();
    let groups: Vec<u16> = (0..1000).map(|row| row % 700).collect();
    let options = BuilderOptions { group_count: 700, bytes: 4 << 20 };
    let governor = Governor::new(1 << 30);
    let mut builder = Builder::new(&batch.schema(), options, governor.pool(), governor.reservation("test"));
    let (mut rows, mut pushed) = (0, 0);
    let give = &mut |_: usize, batch: Batch, _: u64| {
        rows += batch.num_rows();
        Ok(())
    };
    while builder.held.batches.len() == pushed {
        builder.push(&batch, &groups, give).unwrap();
        pushed += 1;
        assert!(builder.held_bytes() > 0 && pushed < 100);
    }
    assert_eq!(pushed, GATHERED_ROWS_MIN.div_ceil(1000));
    // The last of them waits alone.
    builder.push(&batch, &groups, give).unwrap();
    assert_eq!(builder.held.batches.len(), 1);
    builder.finish(give).unwrap();
    assert_eq!((rows, builder.held_bytes()), (1000 * (pushed + 1), 0));
    // Neither where memory is short nor where it would be much.
    for (memory, bytes) in [(1 << 10, 4 << 20), (1 << 30, 32 << 10)] {
        let (governor, options) = (Governor::new(memory), BuilderOptions { bytes, ..options });
        let mut builder = Builder::new(&batch.schema(), options, governor.pool(), governor.reservation("test"));
        assert!(!builder.hold(&batch, &groups).unwrap());
        assert_eq!(builder.held_bytes(), 0);
    }
}

#[test]
fn what_a_builder_holds_does_not_grow_with_groups_and_columns() {
    let columns: Vec<(String, ArrayRef)> = (0..50)
        .map(|number| (format!("c{number}"), Arc::new(Int64Array::from_iter_values(0..100_000)) as ArrayRef))
        .collect();
    let batch = Batch::try_from_iter(columns).unwrap();
    for group_count in [256, 4096] {
        let mut builder = builder(Kernels::detect(), &batch.schema(), group_count, BuilderOptions::BYTES);
        let groups: Vec<u16> = (0..100_000).map(|row| (row * 7919 % group_count) as u16).collect();
        let mut given = 0;
        builder
            .push(&batch, &groups, &mut |_, batch, _| {
                given += batch.num_rows();
                Ok(())
            })
            .unwrap();
        assert!(builder.held_bytes() < 256 << 20, "{}", builder.held_bytes());
        builder
            .finish(&mut |_, batch, _| {
                given += batch.num_rows();
                Ok(())
            })
            .unwrap();
        assert_eq!((given, builder.held_bytes()), (100_000, 0));
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = Batch::try_from_iter([("n", column)]).unwrap();
    let mut builder = builder(Kernels::detect(), &batch.schema(), 2, 1 << 16);
    let give = &mut |_: usize, _: Batch, _: u64| Ok(());
    assert!(builder.push(&batch, &[0, 1], give).is_err());
    assert!(builder.push(&batch, &[0, 1, 2], give).is_err());
}
