//! Plans as bytes: round trips of random plans of every variant, every flipped bit, every truncation, hostile changes, every limit, and the
//! plans of statements.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use self::random::{Files, Maker, closures, every_name};
use super::*;
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, Int64Array, StringViewArray},
        datatypes::{Field, Schema, SchemaRef},
    },
    expression::{BinaryOp, Expression, Literal, SortKey},
    format::FileFormat,
    kernel::testing::{Random, cases},
    limits,
    operator::sort::SortSpec,
    plan::{
        physical::{Edge, EdgeId, EdgeKind, Pipeline, PipelineId, Role, SourceSpec, StateId, StateSpec, TransformSpec},
        stage::{Distribution, Stage},
    },
    scan::{ScanSpec, Table},
    sink::Target,
};

mod random; // Maker: plans of every shape, from a seed

fn decode_here(bytes: &[u8]) -> Result<PhysicalPlan> {
    decode(bytes, &closures(), &OpenedTables::new("here"))
}

/// `content` with a head and a checksum that agree with it.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(content);
    let checksum = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn content_of(bytes: &[u8]) -> &[u8] {
    &bytes[HEADER_BYTES..bytes.len() - CHECKSUM_BYTES]
}

/// The plan comes back: its text, its rows and its bytes are the same.
fn check(plan: &PhysicalPlan) -> Vec<u8> {
    let bytes = encode(plan).unwrap();
    let read = decode_here(&bytes).unwrap();
    let ((text_here, rows_here), (text_there, rows_there)) = (taken_apart(&read), taken_apart(plan));
    let differ_at = text_here.bytes().zip(text_there.bytes()).position(|(here, there)| here != there);
    if let Some(at) = differ_at {
        let around = |text: &str| text.chars().skip(at.saturating_sub(200)).take(300).collect::<String>();
        panic!("{} is not {}", around(&text_here), around(&text_there));
    }
    assert_eq!(text_here.len(), text_there.len());
    assert!(rows_here == rows_there);
    assert!(encode(&read).unwrap() == bytes);
    bytes
}

/// The plan as text without its rows, and these: the text of an array tells which values of a dictionary nobody uses.
fn taken_apart(plan: &PhysicalPlan) -> (String, Vec<Batch>) {
    let (mut plan, mut rows) = (plan.clone(), Vec::new());
    for pipeline in plan.stages.iter_mut().flat_map(|stage| &mut stage.pipelines) {
        match &mut pipeline.source {
            SourceSpec::Values(_, batches) => rows.append(batches),
            SourceSpec::Scan(scan, _) => rows.extend(scan.table.batches().into_iter().flatten().cloned()),
            _ => {}
        }
    }
    (format!("{plan:?}"), rows)
}

/// A plan of one stage: one pipeline from `source` over `transforms` into `state`.
fn plan_of(source: SourceSpec, transforms: Vec<TransformSpec>, state: StateSpec) -> PhysicalPlan {
    let pipeline = Pipeline { source, transforms, sink: (StateId(0), Role::Fill), waits_for: Vec::new() };
    let stage =
        Stage { pipelines: vec![pipeline], states: vec![state], distribution: Distribution::Single, needs: Vec::new() };
    PhysicalPlan { stages: vec![stage], edges: Vec::new(), parameters: Vec::new(), output: no_columns() }
}

fn no_columns() -> SchemaRef {
    Arc::new(Schema::empty())
}

fn filter(expression: Expression) -> PhysicalPlan {
    let filter = TransformSpec::Filter { conjuncts: vec![expression], input: no_columns() };
    plan_of(SourceSpec::Values(no_columns(), Vec::new()), vec![filter], StateSpec::Collect)
}

fn kind_of(result: Result<impl Sized>) -> Kind {
    result.map(|_| ()).unwrap_err().kind()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_was_written_is_read(seed: u64) {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        check(&Maker { random, files: &files, seen: BTreeSet::new() }.plan());
    }

    #[test]
    fn a_flipped_bit_or_another_length_is_refused(seed: u64, place: prop::sample::Index, bit in 0u8..8) {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        let mut bytes = encode(&Maker { random, files: &files, seen: BTreeSet::new() }.plan()).unwrap();
        let place = place.index(bytes.len());
        prop_assert!(decode_here(&bytes[..place]).is_err());
        bytes[place] ^= 1 << bit;
        prop_assert!(decode_here(&bytes).is_err());
        bytes[place] ^= 1 << bit;
        bytes.push(0);
        prop_assert!(decode_here(&bytes).is_err());
    }

    /// Content that ends too early, under a checksum that is right.
    #[test]
    fn a_cut_content_is_refused(seed: u64, place: prop::sample::Index) {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        let bytes = encode(&Maker { random, files: &files, seen: BTreeSet::new() }.plan()).unwrap();
        let content = content_of(&bytes);
        prop_assert_eq!(kind_of(decode_here(&sealed(&content[..place.index(content.len())]))), Kind::Corrupt);
    }

    /// Somebody changes a plan and makes its checksum right again: an error, or another plan's only encoding; never a panic.
    #[test]
    fn hostile_bytes_are_refused_or_canonical(
        seed: u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        let bytes = encode(&Maker { random, files: &files, seen: BTreeSet::new() }.plan()).unwrap();
        let mut content = content_of(&bytes).to_vec();
        for (place, byte, is_small) in changes {
            // Numbers and tags are small.
            let place = place.index(content.len());
            content[place] = if is_small { byte % 16 } else { byte };
        }
        let bytes = sealed(&content);
        if let Ok(plan) = decode_here(&bytes) {
            prop_assert!(encode(&plan).unwrap() == bytes);
        }
    }

    /// Bytes that are no plan at all, and those that begin like one.
    #[test]
    fn noise_is_refused(noise: Vec<u8>, begins_well: bool) {
        let bytes = if begins_well { sealed(&noise) } else { noise };
        if let Ok(plan) = decode_here(&bytes) {
            prop_assert!(encode(&plan).unwrap() == bytes);
        }
    }

    #[test]
    fn a_literal_keeps_its_type_and_its_bits(seed: u64) {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        let mut maker = Maker { random, files: &files, seen: BTreeSet::new() };
        let mut writer = Writer::default();
        let literals: Vec<Literal> = (0..20).map(|_| maker.literal()).collect();
        literals.iter().for_each(|literal| writer.literal(literal).unwrap());
        let (closures, tables) = (closures(), OpenedTables::new("here"));
        let mut reader = Reader::new(&writer.bytes, &closures, &tables);
        for literal in literals {
            let read = reader.literal().unwrap();
            prop_assert_eq!(read.data_type(), literal.data_type());
            prop_assert_eq!(read.is_null(), literal.is_null());
            prop_assert_eq!(format!("{read:?}"), format!("{literal:?}"));
            let (here, there) = (read.to_scalar_array().unwrap(), literal.to_scalar_array().unwrap());
            prop_assert_eq!(&here, &there);
        }
        prop_assert!(reader.rest.is_empty());
    }
}

/// A schema or a value alone: all of its bytes and nothing else.
#[test]
fn schemas_and_values_travel_alone() {
    let mut random = Random::new(3);
    let files = Files::new(&mut random);
    let mut maker = Maker { random, files: &files, seen: BTreeSet::new() };
    for _ in 0..50 {
        let (schema, literal) = (maker.schema(), maker.literal());
        let (mut of_schema, mut of_literal) = (schema_to_bytes(&schema).unwrap(), literal_to_bytes(&literal).unwrap());
        assert_eq!(schema_from_bytes(&of_schema).unwrap(), schema);
        let read = literal_from_bytes(&of_literal).unwrap();
        assert_eq!(format!("{read:?}"), format!("{literal:?}"));
        assert_eq!(kind_of(schema_from_bytes(&of_schema[..of_schema.len() - 1])), Kind::Corrupt);
        of_schema.push(0);
        of_literal.push(0);
        assert_eq!(kind_of(schema_from_bytes(&of_schema)), Kind::Corrupt);
        assert_eq!(kind_of(literal_from_bytes(&of_literal)), Kind::Corrupt);
    }
}

/// Over the seeds every variant of every enum occurs, so the round trips say something of each.
#[test]
fn every_variant_occurs() {
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let files = Files::new(&mut random);
        let mut maker = Maker { random, files: &files, seen: std::mem::take(&mut seen) };
        check(&maker.plan());
        seen = maker.seen;
    }
    let missing: Vec<_> = every_name().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_bit_and_every_length_matter() {
    let literal = Expression::Literal(Literal::from("text"));
    let bytes = check(&filter(Expression::Not(Box::new(literal))));
    for place in 0..bytes.len() {
        assert_eq!(kind_of(decode_here(&bytes[..place])), Kind::Corrupt);
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            let kind = kind_of(decode_here(&flipped));
            assert!(matches!(kind, Kind::Corrupt), "bit {bit} of byte {place}: {kind:?}");
        }
    }
    let content = content_of(&bytes);
    for end in 0..content.len() {
        assert_eq!(kind_of(decode_here(&sealed(&content[..end]))), Kind::Corrupt, "{end} bytes");
    }
}

/// Each byte of a content in turn with every value: no tag, flag or length makes a panic.
#[test]
fn every_value_of_every_byte_is_refused_or_canonical() {
    let key = |expression| SortKey { expression, is_descending: true, nulls_first: false };
    let compare = Expression::Binary {
        op: BinaryOp::Lt,
        left: Box::new(Expression::Column(0)),
        right: Box::new(Expression::Literal(Literal::decimal(5, 3, 1))),
    };
    let rows = Batch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let schema = rows.schema();
    let sort = SortSpec { keys: vec![key(compare)], schema: Arc::clone(&schema), skip: 1, fetch: Some(2) };
    let scan = ScanSpec {
        table: Table::of_batches("t", schema, vec![rows]),
        columns: vec![0],
        given: vec![0],
        filters: Vec::new(),
        tells_ends: false,
    };
    let bytes = check(&plan_of(
        SourceSpec::Scan(scan, Vec::new()),
        vec![TransformSpec::Probe(StateId(0))],
        StateSpec::TopK(sort),
    ));
    let mut content = content_of(&bytes).to_vec();
    let mut accepted = 0;
    for place in 0..content.len() {
        let before = content[place];
        for value in 0..=255 {
            content[place] = value;
            let changed = sealed(&content);
            if let Ok(plan) = decode_here(&changed) {
                assert!(encode(&plan).unwrap() == changed, "byte {place} as {value}");
                accepted += 1;
            }
        }
        content[place] = before;
    }
    assert!(accepted > content.len());
}

#[test]
fn the_bytes_are_fixed() {
    let field = Field::new("n", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut plan = plan_of(SourceSpec::Values(Arc::clone(&schema), Vec::new()), Vec::new(), StateSpec::Collect);
    plan.output = schema;
    let schema = b"\0\0\0\0\x01\0\0\0\x01\0\0\0n\x01\0\0\0\0\x05";
    let mut content = vec![0; 4]; // no tables
    content.extend_from_slice(schema);
    content.extend_from_slice(&[0; 8]); // no parameters, no edges
    content.extend_from_slice(&[1, 0, 0, 0]); // a stage:
    content.extend_from_slice(&[0, 0, 0, 0, 0]); // one task, needs nothing
    content.extend_from_slice(&[1, 0, 0, 0, 6]); // a state: collect
    content.extend_from_slice(&[1, 0, 0, 0, 1]); // a pipeline: from values
    content.extend_from_slice(schema);
    content.extend_from_slice(&[0; 8]); // no batches, no transforms
    content.extend_from_slice(&[0, 0, 0, 0, 0]); // into state 0, fill
    content.extend_from_slice(&[0, 0, 0, 0]); // waits for nothing
    assert_eq!(check(&plan), sealed(&content));
}

#[test]
fn metadata_stands_in_the_order_of_its_keys() {
    let schema = |keys: &[&str]| {
        let pairs = keys.iter().map(|key| ((*key).to_owned(), format!("value of {key}")));
        let field = Field::new("n", DataType::Int64, true).with_metadata(pairs.clone().collect());
        Arc::new(Schema::new(vec![field]).with_metadata(pairs.collect()))
    };
    let keys = ["d", "b", "a", "c", "e", "f"];
    let mut plan = plan_of(SourceSpec::Values(no_columns(), Vec::new()), Vec::new(), StateSpec::Collect);
    plan.output = schema(&keys);
    let bytes = encode(&plan).unwrap();
    let read = decode_here(&bytes).unwrap();
    assert_eq!(read.output, plan.output);
    let mut turned = keys;
    turned.reverse();
    plan.output = schema(&turned);
    assert!(encode(&plan).unwrap() == bytes);
}

#[test]
fn plans_of_more_than_16_mebibytes_are_carried() {
    let texts = |count: usize| (0..count).map(|number| format!("the value of number {number}"));
    let list = texts(700_000).map(|text| Expression::Literal(Literal::from(text))).collect();
    let in_list = Expression::InList { input: Box::new(Expression::Column(0)), list, is_negated: false };
    let bytes = encode(&filter(in_list.clone())).unwrap();
    assert!(bytes.len() > 16 << 20);
    let read = decode_here(&bytes).unwrap();
    let TransformSpec::Filter { conjuncts, .. } = &read.stages[0].pipelines[0].transforms[0] else { panic!() };
    assert!(conjuncts[..] == [in_list]);
    assert!(encode(&read).unwrap() == bytes);

    let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts(250_000)));
    let batch = Batch::try_from_iter([("text", text)]).unwrap();
    let values =
        SourceSpec::Values(batch.schema(), vec![batch.slice(0, 100_000), batch.slice(100_000, 150_000), batch]);
    let bytes = encode(&plan_of(values.clone(), Vec::new(), StateSpec::Collect)).unwrap();
    assert!(bytes.len() > 16 << 20);
    let read = decode_here(&bytes).unwrap();
    let (SourceSpec::Values(_, there), SourceSpec::Values(_, here)) = (&values, &read.stages[0].pipelines[0].source)
    else {
        panic!()
    };
    assert!(there == here);
    assert!(encode(&read).unwrap() == bytes);
}

/// A batch that is longer than a frame may be becomes several, of the same rows.
#[test]
fn a_great_batch_becomes_two() {
    let rows = TEXT_BYTES_MAX / 8 + 1;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let batch = Batch::try_from_iter([("number", numbers)]).unwrap();
    let plan = plan_of(SourceSpec::Values(batch.schema(), vec![batch.clone()]), Vec::new(), StateSpec::Collect);
    let bytes = encode(&plan).unwrap();
    let read = decode_here(&bytes).unwrap();
    let SourceSpec::Values(_, batches) = &read.stages[0].pipelines[0].source else { panic!() };
    assert_eq!(batches.len(), 2);
    assert!(crate::batch::concat(&batch.schema(), batches).unwrap() == batch);
    assert!(encode(&read).unwrap() == bytes);
}

#[test]
fn what_is_too_large_is_refused() {
    let mut writer = Writer { bytes: vec![0; PLAN_BYTES_MAX - CHECKSUM_BYTES - 1], ..Writer::default() };
    writer.raw(&[0]).unwrap();
    let error = writer.raw(&[0]).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.hint().unwrap().contains("files"));
    assert_eq!(kind_of(decode_here(&writer.bytes[..0])), Kind::Corrupt);
    writer.bytes.extend_from_slice(&[0; CHECKSUM_BYTES + 1]);
    assert_eq!(kind_of(decode_here(&writer.bytes)), Kind::Limit);

    // Lengths and counts from outside: refused by their caps, or because so much does not follow.
    for (count, kind) in [(u32::MAX, Kind::Limit), (ITEMS_MAX as u32, Kind::Corrupt)] {
        assert_eq!(kind_of(decode_here(&sealed(&count.to_le_bytes()))), kind);
    }
    let mut text = vec![1, 0, 0, 0];
    text.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(kind_of(decode_here(&sealed(&text))), Kind::Limit);
    text[4..].copy_from_slice(&(TEXT_BYTES_MAX as u32).to_le_bytes());
    assert_eq!(kind_of(decode_here(&sealed(&text))), Kind::Corrupt);

    let mut writer = Writer::default();
    writer.add_nodes(NODES_MAX).unwrap();
    assert_eq!(writer.add_nodes(1).unwrap_err().kind(), Kind::Limit);
}

/// As deep as may be, on a stack that would not hold a frame a level; one deeper is refused on both sides.
#[test]
fn depth_is_bounded_and_needs_no_stack() {
    let nested = |depth: usize| (1..depth).fold(Expression::Column(0), |inner, _| Expression::Not(Box::new(inner)));
    let small = std::thread::Builder::new().stack_size(160 << 10);
    let run = move || {
        let bytes = encode(&filter(nested(limits::PLAN_DEPTH_MAX))).unwrap();
        assert!(encode(&decode_here(&bytes).unwrap()).unwrap() == bytes);
        assert_eq!(kind_of(encode(&filter(nested(limits::PLAN_DEPTH_MAX + 1)))), Kind::Limit);

        // One NOT more, written by hand behind the others.
        let nodes_at = bytes.windows(5).position(|five| five == [0, 2, 0, 0, 0]).unwrap();
        let mut content = content_of(&bytes).to_vec();
        let first = nodes_at - HEADER_BYTES;
        content[first..first + 4].copy_from_slice(&(limits::PLAN_DEPTH_MAX as u32 + 1).to_le_bytes());
        // Behind the column, which is a tag and a number.
        content.insert(first + 4 + 5, 4);
        assert_eq!(kind_of(decode_here(&sealed(&content))), Kind::Limit);
    };
    small.spawn(run).unwrap().join().unwrap();

    let list_of = |depth: usize| {
        (0..depth).fold(DataType::Int8, |inner, _| DataType::List(Arc::new(Field::new("item", inner, true))))
    };
    let cast = |to| Expression::Cast { input: Box::new(Expression::Column(0)), to, is_try: false };
    check(&filter(cast(list_of(TYPE_DEPTH_MAX))));
    assert_eq!(kind_of(encode(&filter(cast(list_of(TYPE_DEPTH_MAX + 1))))), Kind::Limit);
}

#[test]
fn numbers_that_point_to_nothing_are_refused() {
    let values = || SourceSpec::Values(no_columns(), Vec::new());
    let plan = |source| plan_of(source, Vec::new(), StateSpec::Collect);
    let scan = |columns| {
        SourceSpec::Scan(
            ScanSpec {
                table: Table::empty("t", no_columns()),
                columns,
                given: Vec::new(),
                filters: vec![],
                tells_ends: false,
            },
            Vec::new(),
        )
    };
    let mut waits = plan(values());
    waits.stages[0].pipelines[0].waits_for.push(PipelineId(1));
    let mut sinks = plan(values());
    sinks.stages[0].pipelines[0].sink.0 = StateId(1);
    let mut needs = plan(values());
    needs.stages[0].needs.push(0);
    let mut groups = plan(values());
    groups.stages[0].distribution = Distribution::Groups(3);
    let mut edges = plan(values());
    edges.edges.push(Edge { schema: no_columns(), kind: EdgeKind::Groups { keys: Vec::new(), count: 512 } });
    for wrong in [
        waits,
        sinks,
        needs,
        groups,
        edges,
        plan(scan(vec![0])),
        plan(SourceSpec::State(StateId(1))),
        plan(SourceSpec::Exchange(no_columns(), vec![EdgeId(0)])),
        plan_of(values(), vec![TransformSpec::Probe(StateId(1))], StateSpec::Collect),
        plan_of(values(), Vec::new(), StateSpec::Scalar { number: 0 }),
        plan_of(values(), Vec::new(), StateSpec::Exchange(EdgeId(0))),
    ] {
        assert_eq!(kind_of(encode(&wrong)), Kind::Corrupt);
        // Read as well as written.
        let mut writer = Writer::default();
        writer.plan(&wrong).unwrap();
        assert_eq!(kind_of(decode_here(&sealed(&writer.bytes))), Kind::Corrupt);
    }
}

#[test]
fn types_that_no_array_can_have_are_refused() {
    use DataType as T;
    let field = |data_type| Arc::new(Field::new("f", data_type, true));
    for data_type in [
        T::Decimal128(0, 0),
        T::Decimal32(10, 0),
        T::Decimal64(5, 6),
        T::Decimal256(77, 0),
        T::Time32(crate::batch::datatypes::TimeUnit::Nanosecond),
        T::Time64(crate::batch::datatypes::TimeUnit::Second),
        T::FixedSizeBinary(-1),
        T::FixedSizeList(field(T::Int8), -1),
        T::Dictionary(Box::new(T::Utf8), Box::new(T::Utf8)),
        T::Map(field(T::Int8), false),
        T::RunEndEncoded(field(T::Utf8), field(T::Int8)),
    ] {
        let cast = Expression::Cast { input: Box::new(Expression::Column(0)), to: data_type.clone(), is_try: true };
        assert_eq!(kind_of(encode(&filter(cast))), Kind::Unsupported, "{data_type}");
    }
    // Fixed width zero, and as many elements as nobody sends.
    check(&filter(Expression::Literal(Literal::null(&T::FixedSizeBinary(0)).unwrap())));
    let nulls = Literal::null(&T::FixedSizeList(field(T::Null), 1_000)).unwrap();
    assert_eq!(kind_of(decode_here(&encode(&filter(Expression::Literal(nulls))).unwrap())), Kind::Limit);
}

#[test]
fn tables_stand_once_and_in_order() {
    let rows = |value: i64| {
        let batch = Batch::try_from_iter([("n", Arc::new(Int64Array::from(vec![value])) as ArrayRef)]).unwrap();
        Table::of_batches("t", batch.schema(), vec![batch])
    };
    let scan = |table: &Arc<Table>| Pipeline {
        source: SourceSpec::Scan(
            ScanSpec {
                table: Arc::clone(table),
                columns: vec![0],
                given: vec![0],
                filters: Vec::new(),
                tells_ends: false,
            },
            Vec::new(),
        ),
        transforms: Vec::new(),
        sink: (StateId(0), Role::Fill),
        waits_for: Vec::new(),
    };
    let (one, same, other) = (rows(1), rows(1), rows(2));
    let mut plan = plan_of(SourceSpec::Values(no_columns(), Vec::new()), Vec::new(), StateSpec::Collect);
    plan.stages[0].pipelines = [&one, &other, &same, &one].map(scan).to_vec();
    let bytes = check(&plan);
    assert_eq!(content_of(&bytes)[..4], [2, 0, 0, 0]);
    let read = decode_here(&bytes).unwrap();
    let table = |number: usize| match &read.stages[0].pipelines[number].source {
        SourceSpec::Scan(scan, _) => Arc::clone(&scan.table),
        _ => panic!(),
    };
    assert!(Arc::ptr_eq(&table(0), &table(2)) && Arc::ptr_eq(&table(0), &table(3)));
    assert!(!Arc::ptr_eq(&table(0), &table(1)));
    assert_eq!(table(1).batches().unwrap()[0].column(0).len(), 1);

    // A table twice, a table that nobody reads, tables in another order.
    let mut twice = Writer::default();
    twice.tables([&one].into_iter()).unwrap();
    let table_bytes = twice.bytes[4..].to_vec();
    for count in [2u32, 1] {
        let mut content = count.to_le_bytes().to_vec();
        (0..count).for_each(|_| content.extend_from_slice(&table_bytes));
        content.extend_from_slice(&[0; 20]);
        assert_eq!(kind_of(decode_here(&sealed(&content))), Kind::Corrupt);
    }
    let mut turned = Writer::default();
    turned.tables([&other, &one].into_iter()).unwrap();
    let mut content = turned.bytes;
    let mut in_order = Writer::default();
    in_order.tables([&one, &other].into_iter()).unwrap();
    content.extend_from_slice(&content_of(&bytes)[in_order.bytes.len()..]);
    decode_here(&sealed(&content)).unwrap();
    plan.stages[0].pipelines = [&other, &one].map(scan).to_vec();
    let mut swapped = Writer { tables: vec![(Arc::clone(&other), 1), (Arc::clone(&one), 0)], ..Writer::default() };
    swapped.plan(&plan).unwrap();
    let mut content = in_order.bytes;
    content.extend_from_slice(&swapped.bytes[4..]);
    assert_eq!(kind_of(decode_here(&sealed(&content))), Kind::Corrupt);
}

#[test]
fn paths_are_absolute() {
    let target = |path: &str| StateSpec::Write {
        target: Target::new(path, FileFormat::Csv),
        schema: no_columns(),
        is_ordered: false,
    };
    let plan = |path| plan_of(SourceSpec::Values(no_columns(), Vec::new()), Vec::new(), target(path));
    let read = decode_here(&encode(&plan("out/./part")).unwrap()).unwrap();
    let StateSpec::Write { target, .. } = &read.stages[0].states[0] else { panic!() };
    assert_eq!(target.path, std::env::current_dir().unwrap().join("out/part"));
    assert_eq!(kind_of(encode(&plan(""))), Kind::Request);

    let bytes = encode(&plan("/a/bcd")).unwrap();
    let content = content_of(&bytes);
    let at = content.windows(6).position(|six| six == b"/a/bcd").unwrap();
    for path in [b"xa/bcd", b"/a/./d", b"/a//cd", b"/a/bc/", b"/a/b\0d"] {
        let mut changed = content.to_vec();
        changed[at..at + 6].copy_from_slice(path);
        let changed = sealed(&changed);
        match decode_here(&changed) {
            Ok(plan) => assert!(encode(&plan).unwrap() == changed),
            Err(error) => assert_eq!(error.kind(), Kind::Corrupt),
        }
    }
}

#[test]
fn closures_are_taken_from_here() {
    let mut random = Random::new(1);
    let files = Files::new(&mut random);
    let closure = closures().find(1, "src/main.rs:11:9", &Schema::new(vec![Field::new("b", DataType::Int64, false)]));
    let closure = closure.unwrap();
    let plan = |closure: &Closure| {
        let map = TransformSpec::MapBatches(closure.clone());
        plan_of(SourceSpec::Values(no_columns(), Vec::new()), vec![map], StateSpec::Collect)
    };
    drop(files);
    let read = decode_here(&check(&plan(&closure))).unwrap();
    let TransformSpec::MapBatches(here) = &read.stages[0].pipelines[0].transforms[0] else { panic!() };
    assert_eq!((here.number, here.call_site, &here.output), (1, closure.call_site, &closure.output));

    let others = [
        (Closure { number: 2, ..closure.clone() }, "closure 2 at src/main.rs:11:9 from the plan: here are 3"),
        (Closure { call_site: "src/main.rs:1:1", ..closure.clone() }, "src/main.rs:11:9 here and at src/main.rs:1:1"),
        (Closure { output: no_columns(), ..closure.clone() }, "gives (b Int64) here and () in the plan"),
    ];
    for (other, says) in others {
        let error = decode_here(&encode(&plan(&other)).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Request);
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.hint().unwrap().contains("same binary"));
    }
}

#[test]
fn a_fingerprint_tells_tables_of_closures_apart() {
    let fingerprint = |closures: &Closures| closures.fingerprint().unwrap();
    let same = closures();
    assert_eq!(fingerprint(&same), fingerprint(&closures()));
    let output = Schema::new(vec![Field::new("b", DataType::Int64, false)]);
    let one = same.find(1, "src/main.rs:11:9", &output).unwrap();
    let mut all = BTreeSet::from([fingerprint(&same), fingerprint(&Closures::default())]);
    for other in [
        Closure { number: 3, ..one.clone() },
        Closure { call_site: "src/main.rs:11:10", ..one.clone() },
        Closure { output: no_columns(), ..one },
    ] {
        let mut closures = closures();
        closures.insert(other);
        all.insert(fingerprint(&closures));
    }
    assert_eq!(all.len(), 5);
}

#[cfg(test)]
mod statements {
    //! The plans of TPC-H, for one node and for four.

    use std::{fs, path::Path, time::SystemTime};

    use super::*;
    use crate::{
        plan::{explain::explain, lower::lower, rewrite::rewrite},
        sql::{Catalog, Planned, plan},
    };
    use windrow_datasets::{TpchOptions, write_tpch};

    #[test]
    fn every_statement_of_tpch_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        write_tpch(&TpchOptions::new(0.001, folder.path())).unwrap();
        let mut catalog = Catalog::new();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            catalog.insert(name, Table::open(path.to_str().unwrap()).unwrap());
        }
        let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/tpch/queries");
        let tables = OpenedTables::on_this_host();
        for number in 1..=22 {
            let text = fs::read_to_string(queries.join(format!("q{number}.sql"))).unwrap();
            let Planned::Query(logical) = plan(text.trim().trim_end_matches(';'), &catalog, SystemTime::now()).unwrap()
            else {
                panic!("query {number} is none")
            };
            let logical = rewrite(logical).unwrap();
            for node_count in [1, 4] {
                let plan = lower(&logical, node_count).unwrap();
                let bytes = encode(&plan).unwrap();
                let read = decode(&bytes, &Closures::default(), &tables).unwrap();
                assert_eq!(explain(&read), explain(&plan), "query {number} on {node_count} nodes");
                assert_eq!(format!("{read:?}"), format!("{plan:?}"), "query {number} on {node_count} nodes");
                assert!(encode(&read).unwrap() == bytes, "query {number} on {node_count} nodes");
            }
        }
        assert_eq!(tables.footer_count(), 8);
    }
}
