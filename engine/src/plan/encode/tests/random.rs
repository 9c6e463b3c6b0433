//! Plans of every shape, from a seed.
//!
//! In: a seed. Out: a plan whose numbers point to something, and the names of the variants that occur in it. Never: a plan that means something;
//! types, columns and schemas fit each other only where bytes are made of them.

use std::{collections::BTreeSet, fmt::Debug, fs, sync::Arc};

use tempfile::TempDir;

use crate::{
    batch::{
        Batch,
        array::Array,
        datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode},
    },
    error::Result,
    expression::{
        AggregateCall, BinaryOp, Bound, Expression, Frame, Literal, RankBound, SortKey, WindowCall, WindowFunction,
    },
    format::FileFormat,
    kernel::testing::{Random, random_array, random_batch, random_type},
    operator::{
        aggregate::{AggregatePhase, AggregateSpec},
        groups::PartColumn,
        join::{HashJoinSpec, JoinColumn, JoinFilter, JoinRows, NestedLoopSpec},
        map::BatchFunction,
        sort::SortSpec,
        window::WindowSpec,
    },
    plan::{
        closures::{Closure, Closures, Function},
        encode::Tagged,
        physical::{
            Edge, EdgeId, EdgeKind, KeyFilter, MapGroupsSpec, PhysicalPlan, Pipeline, PipelineId, Role, SourceSpec,
            StateId, StateSpec, TransformSpec,
        },
        stage::{Distribution, Stage},
    },
    scan::{ScanSpec, Table, TableRows},
    sink::{IfExists, Target},
};

/// The name of a value's variant, and the names of all: a variant that is missing does not compile, one that no plan has fails
/// [`every_name`]. Behind a semicolon: variants that stay in their process.
macro_rules! names {
    ($name:ident, $all:ident, $type:ident: $($variant:ident)+ $(; $unsent:ident)?) => {
        fn $name(value: &$type) -> &'static str {
            match value {
                $($type::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant)),)+
                $($type::$unsent { .. } => unreachable!(),)?
            }
        }
        const $all: &[&str] = &[$(concat!(stringify!($type), "::", stringify!($variant))),+];
    };
}
names!(expression_name, EXPRESSIONS, Expression: Column Literal Parameter Binary Not Negate IsNull IsTruth Cast Case InList Like Function);
names!(source_name, SOURCES, SourceSpec: Scan Values State Exchange; Cached);
names!(transform_name, TRANSFORMS, TransformSpec: Filter Project Probe Finish MapBatches);
names!(state_name, STATES, StateSpec: Aggregate HashJoin NestedLoopJoin Sort TopK Window MapGroups Limit Collect Scalar Write Share Tee Exchange; Cache);
names!(window_name, WINDOWS, WindowFunction: RowNumber Rank DenseRank PercentRank CumeDist Ntile Shifted Nth Aggregate);
names!(bound_name, BOUNDS, Bound: Unbounded Current Offset Value);
names!(edge_name, EDGES, EdgeKind: Groups Broadcast Gather);
names!(distribution_name, DISTRIBUTIONS, Distribution: Single Splits Groups);
names!(column_name, COLUMNS, JoinColumn: Probe Build Mark);
names!(rows_name, ROWS, TableRows: Parquet Arrow Csv Json Text Lines Fixed Memory);
names!(
    type_name, TYPES, DataType: Null Boolean Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64 Timestamp
    Date32 Date64 Time32 Time64 Duration Interval Binary FixedSizeBinary LargeBinary BinaryView Utf8 LargeUtf8 Utf8View List ListView
    FixedSizeList LargeList LargeListView Struct Union Dictionary Decimal32 Decimal64 Decimal128 Decimal256 Map RunEndEncoded
);

/// The names of all variants of all enums of a plan.
pub(super) fn every_name() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for of_one in
        [EXPRESSIONS, SOURCES, TRANSFORMS, STATES, EDGES, DISTRIBUTIONS, COLUMNS, ROWS, TYPES, WINDOWS, BOUNDS]
    {
        names.extend(of_one.iter().map(|name| (*name).to_owned()));
    }
    // Literals of every type that a frame carries; the others have no values here.
    let without = ["ListView", "LargeListView", "Union", "RunEndEncoded"];
    let carried = TYPES.iter().filter(|name| !without.iter().any(|other| name.ends_with(&format!("::{other}"))));
    names.extend(carried.map(|name| format!("literal of {name}")));
    names.extend([
        "literal NULL".to_owned(),
        "batch with its own schema".to_owned(),
        "an ordered dictionary".to_owned(),
    ]);
    fn tagged<T: Tagged + Debug>(names: &mut BTreeSet<String>) {
        names.extend(T::all().iter().map(|value| tagged_name(value)));
    }
    tagged::<BinaryOp>(&mut names);
    tagged::<crate::expression::AggregateFunction>(&mut names);
    tagged::<AggregatePhase>(&mut names);
    tagged::<FileFormat>(&mut names);
    tagged::<IfExists>(&mut names);
    tagged::<JoinRows>(&mut names);
    tagged::<Role>(&mut names);
    tagged::<TimeUnit>(&mut names);
    tagged::<IntervalUnit>(&mut names);
    tagged::<UnionMode>(&mut names);
    names
}

fn tagged_name<T: Tagged + Debug>(value: &T) -> String {
    format!("{}: {value:?}", T::WHAT)
}

/// Files to scan; they vanish with it.
pub(super) struct Files {
    pub(super) folder: TempDir,
    pub(super) tables: Vec<Arc<Table>>,
}

impl Files {
    pub(super) fn new(random: &mut Random) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (csv, text, parquet, json) = (place("a.csv"), place("b.txt"), place("c.parquet"), place("d.jsonl"));
        let arrow = place("e.arrow");
        fs::write(&csv, "x,y\n1,one\n2,two\n").unwrap();
        fs::write(&text, "two\nlines\n").unwrap();
        fs::write(&json, "{\"x\":1}\n{\"y\":\"two\"}\n").unwrap();
        let numbers = random_array(random, &DataType::Int64, true, 20);
        let batch = Batch::try_from_iter_with_nullable([("n", numbers, true)]).unwrap();
        for (format, path) in [(FileFormat::Parquet, &parquet), (FileFormat::Arrow, &arrow)] {
            let mut encoder = format.encoder(&batch.schema()).unwrap();
            encoder.push(&batch).unwrap();
            fs::write(path, encoder.finish().unwrap()).unwrap();
        }
        let rows = random_batch(random);
        let memory = Table::of_batches("memory", rows.schema(), vec![rows.clone(), rows]);
        let mut tables: Vec<_> =
            [&csv, &parquet, &json, &arrow].iter().map(|path| Table::open(path).unwrap()).collect();
        tables.extend([Table::open_text(&text).unwrap(), memory]);
        tables.extend([Table::open_lines(&text, 1).unwrap(), Table::open_fixed(&text, 5).unwrap()]);
        tables.push(Table::open_text(&text).unwrap().in_splits_of(Some(7)).unwrap().combined(true));
        tables.push(Table::open_text(&text).unwrap().of_bytes());
        Files { folder, tables }
    }
}

/// Gives its batch.
struct Same;

impl BatchFunction for Same {
    fn call(&self, batch: &Batch, emit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<()> {
        emit(batch.clone())
    }
}

/// Closures as a job's entry could name them.
pub(super) fn closures() -> Closures {
    let output = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]));
    let closure = |number, call_site, name: &str| Closure {
        number,
        call_site,
        function: Function::Batches(Arc::new(Same)),
        output: output(name),
    };
    [closure(0, "src/main.rs:10:5", "a"), closure(1, "src/main.rs:11:9", "b"), closure(7, "src/other.rs:1:1", "c")]
        .into_iter()
        .collect()
}

/// Makes plans.
pub(super) struct Maker<'a> {
    pub(super) random: Random,
    pub(super) files: &'a Files,
    /// What occurs in them.
    pub(super) seen: BTreeSet<String>,
}

impl Maker<'_> {
    pub(super) fn plan(&mut self) -> PhysicalPlan {
        let parameters: Vec<_> = (0..1 + self.random.below(3)).map(|_| self.data_type()).collect();
        let edges: Vec<_> = (0..1 + self.random.below(3)).map(|_| self.edge()).collect();
        let stages = (0..1 + self.random.below(3)).map(|_| self.stage(parameters.len(), edges.len())).collect();
        PhysicalPlan { stages, edges, parameters, output: self.schema() }
    }

    fn some<T>(&mut self, most: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.random.below(most + 1)).map(|_| make(self)).collect()
    }

    fn see(&mut self, name: impl Into<String>) {
        self.seen.insert(name.into());
    }

    fn any<T: Tagged + Debug>(&mut self) -> T {
        let mut all = T::all();
        let value = all.swap_remove(self.random.below(all.len()));
        self.see(tagged_name(&value));
        value
    }

    fn group_count(&mut self) -> usize {
        1 << self.random.below(9)
    }

    fn edge(&mut self) -> Edge {
        let kind = match self.random.below(3) {
            0 => EdgeKind::Groups { keys: self.some(2, Self::expression), count: self.group_count() },
            1 => EdgeKind::Broadcast,
            _ => EdgeKind::Gather,
        };
        self.see(edge_name(&kind));
        Edge { schema: self.schema(), kind }
    }

    fn stage(&mut self, parameters: usize, edges: usize) -> Stage {
        let distribution = match self.random.below(3) {
            0 => Distribution::Single,
            1 => Distribution::Splits,
            _ => Distribution::Groups(self.group_count()),
        };
        self.see(distribution_name(&distribution));
        let states: Vec<_> = (0..1 + self.random.below(4)).map(|_| self.state(parameters, edges)).collect();
        let count = 1 + self.random.below(3);
        let pipelines = (0..count).map(|_| self.pipeline(states.len(), count, edges)).collect();
        let needs = self.some(2, |maker| maker.random.below(parameters));
        Stage { pipelines, states, distribution, needs }
    }

    fn pipeline(&mut self, states: usize, pipelines: usize, edges: usize) -> Pipeline {
        let source = match self.random.below(4) {
            0 => {
                let scan = self.scan();
                let count = scan.columns.len();
                let filters = if count == 0 { 0 } else { 2 };
                let key_filters = self.some(filters, |maker| KeyFilter {
                    state: StateId(maker.random.below(states)),
                    places: maker.some(2, |maker| maker.random.below(count)),
                });
                SourceSpec::Scan(scan, key_filters)
            }
            1 => {
                let batch = random_batch(&mut self.random);
                let schema = batch.schema();
                let mut batches = vec![batch.slice(0, batch.num_rows() / 2), batch];
                if self.random.chance(30) {
                    batches.push(random_batch(&mut self.random));
                    if batches[2].schema() != schema {
                        self.see("batch with its own schema");
                    }
                }
                SourceSpec::Values(schema, batches)
            }
            2 => SourceSpec::State(StateId(self.random.below(states))),
            _ => {
                let schema = self.schema();
                SourceSpec::Exchange(schema, self.some(3, |maker| EdgeId(maker.random.below(edges))))
            }
        };
        self.see(source_name(&source));
        let transforms = self.some(3, |maker| maker.transform(states));
        let sink = (StateId(self.random.below(states)), self.any());
        let waits_for = self.some(2, |maker| PipelineId(maker.random.below(pipelines)));
        Pipeline { source, transforms, sink, waits_for }
    }

    fn scan(&mut self) -> ScanSpec {
        let table = Arc::clone(&self.files.tables[self.random.below(self.files.tables.len())]);
        self.see(rows_name(&table.describe().unwrap().rows));
        let columns = match table.schema().fields().len() {
            0 => Vec::new(),
            count => self.some(3, |maker| maker.random.below(count)),
        };
        let places = columns.len();
        let given = if places == 0 { Vec::new() } else { self.some(3, |maker| maker.random.below(places)) };
        let (filters, tells_ends) = (self.some(2, Self::expression), self.random.chance(50));
        ScanSpec { table, columns, given, filters, tells_ends }
    }

    fn transform(&mut self, states: usize) -> TransformSpec {
        let transform = match self.random.below(5) {
            0 => TransformSpec::Filter { conjuncts: self.some(3, Self::expression), input: self.schema() },
            1 => TransformSpec::Project {
                expressions: self.some(3, Self::expression),
                input: self.schema(),
                output: self.schema(),
            },
            2 => TransformSpec::Probe(StateId(self.random.below(states))),
            3 => TransformSpec::Finish(self.aggregate()),
            _ => TransformSpec::MapBatches(self.closure()),
        };
        self.see(transform_name(&transform));
        transform
    }

    fn state(&mut self, parameters: usize, edges: usize) -> StateSpec {
        let state = match self.random.below(14) {
            0 => StateSpec::Aggregate(self.aggregate()),
            1 => StateSpec::HashJoin(self.hash_join()),
            2 => StateSpec::NestedLoopJoin(self.nested_loop()),
            3 => StateSpec::Sort(self.sort()),
            4 => StateSpec::TopK(self.sort()),
            5 => StateSpec::Limit { skip: self.random.next() as usize, fetch: self.random.next() as usize },
            6 => StateSpec::Collect,
            7 => StateSpec::Scalar { number: self.random.below(parameters) },
            8 => {
                let path = self.files.folder.path().join(format!("out{}", self.random.below(9)));
                let (format, if_exists) = (self.any(), self.any());
                let partitioned_by = self.some(2, |maker| format!("c{}", maker.random.below(9)));
                let columns = self.some(2, |maker| (format!("c{}", maker.random.below(9)), "Int64".to_owned()));
                let target = Target { path, format, partitioned_by, if_exists, columns };
                StateSpec::Write { target, schema: self.schema(), is_ordered: self.random.below(2) == 0 }
            }
            9 => StateSpec::Share(self.schema()),
            10 => StateSpec::Window(self.window()),
            11 => StateSpec::MapGroups(self.map_groups()),
            12 => StateSpec::Tee(self.some(3, |maker| StateId(maker.random.below(9)))),
            _ => StateSpec::Exchange(EdgeId(self.random.below(edges))),
        };
        self.see(state_name(&state));
        state
    }

    fn aggregate(&mut self) -> AggregateSpec {
        AggregateSpec {
            keys: self.some(3, Self::expression),
            calls: self.some(3, Self::call),
            input: self.schema(),
            output: self.schema(),
            phase: self.any(),
        }
    }

    fn call(&mut self) -> AggregateCall {
        AggregateCall {
            function: self.any(),
            arguments: self.some(2, Self::expression),
            filter: self.some(1, Self::expression).pop(),
            is_distinct: self.random.chance(50),
            order: self.some(2, Self::sort_key),
            returns: self.data_type(),
        }
    }

    /// One of those that an entry names.
    fn closure(&mut self) -> Closure {
        let closures = closures();
        let (number, call_site, name) =
            [(0, "src/main.rs:10:5", "a"), (1, "src/main.rs:11:9", "b"), (7, "src/other.rs:1:1", "c")]
                [self.random.below(3)];
        let output = Schema::new(vec![Field::new(name, DataType::Int64, false)]);
        closures.find(number, call_site, &output).unwrap()
    }

    fn map_groups(&mut self) -> MapGroupsSpec {
        let part = |maker: &mut Self| PartColumn { column: maker.random.below(9), count: maker.random.next() as u32 };
        MapGroupsSpec {
            part: if self.random.chance(50) { Some(part(self)) } else { None },
            keys: self.some(2, Self::expression),
            order: self.some(2, Self::sort_key),
            input: self.schema(),
            closure: self.closure(),
        }
    }

    fn window(&mut self) -> WindowSpec {
        let calls = self.some(3, Self::window_call);
        let call = self.random.below(calls.len().max(1));
        let bound = (!calls.is_empty() && self.random.chance(50)).then(|| RankBound { call, most: self.random.next() });
        WindowSpec {
            partition: self.some(2, Self::expression),
            order: self.some(2, Self::sort_key),
            calls,
            bound,
            input: self.schema(),
            output: self.schema(),
        }
    }

    fn window_call(&mut self) -> WindowCall {
        let ignores_nulls = self.random.chance(50);
        let function = match self.random.below(9) {
            0 => WindowFunction::RowNumber,
            1 => WindowFunction::Rank,
            2 => WindowFunction::DenseRank,
            3 => WindowFunction::PercentRank,
            4 => WindowFunction::CumeDist,
            5 => WindowFunction::Ntile(self.random.next()),
            6 => WindowFunction::Shifted {
                value: self.expression(),
                offset: self.random.next() as i64,
                default: self.some(1, Self::expression).pop(),
                ignores_nulls,
            },
            7 => WindowFunction::Nth { value: self.expression(), number: self.random.next() as i64, ignores_nulls },
            _ => WindowFunction::Aggregate(self.call()),
        };
        self.see(window_name(&function));
        let frame = Frame { units: self.any(), start: self.bound(), end: self.bound() };
        WindowCall { function, frame, returns: self.data_type() }
    }

    fn bound(&mut self) -> Bound {
        let bound = match self.random.below(4) {
            0 => Bound::Unbounded,
            1 => Bound::Current,
            2 => Bound::Offset(self.random.next() as i64),
            _ => Bound::Value(self.expression()),
        };
        self.see(bound_name(&bound));
        bound
    }

    fn hash_join(&mut self) -> HashJoinSpec {
        HashJoinSpec {
            rows: self.any(),
            build_keys: self.some(2, Self::expression),
            probe_keys: self.some(2, Self::expression),
            filter: self.some(1, Self::join_filter).pop(),
            output: self.some(4, Self::join_column),
            nulls_equal: self.random.chance(50),
            is_null_aware: self.random.chance(50),
            build: self.schema(),
            probe: self.schema(),
            output_schema: self.schema(),
        }
    }

    fn nested_loop(&mut self) -> NestedLoopSpec {
        NestedLoopSpec {
            rows: self.any(),
            filter: self.some(1, Self::join_filter).pop(),
            output: self.some(4, Self::join_column),
            build: self.schema(),
            probe: self.schema(),
            output_schema: self.schema(),
        }
    }

    fn join_filter(&mut self) -> JoinFilter {
        JoinFilter { expression: self.expression(), columns: self.some(3, Self::join_column) }
    }

    fn join_column(&mut self) -> JoinColumn {
        let column = match self.random.below(3) {
            0 => JoinColumn::Probe(self.random.below(100)),
            1 => JoinColumn::Build(self.random.below(100)),
            _ => JoinColumn::Mark,
        };
        self.see(column_name(&column));
        column
    }

    fn sort(&mut self) -> SortSpec {
        SortSpec {
            keys: self.some(3, Self::sort_key),
            schema: self.schema(),
            skip: self.random.below(1000),
            fetch: self.some(1, |maker| maker.random.next() as usize).pop(),
        }
    }

    fn sort_key(&mut self) -> SortKey {
        let (is_descending, nulls_first) = (self.random.chance(50), self.random.chance(50));
        SortKey { expression: self.expression(), is_descending, nulls_first }
    }

    pub(super) fn expression(&mut self) -> Expression {
        let depth = self.random.below(4);
        self.expression_of(depth)
    }

    fn expression_of(&mut self, depth: usize) -> Expression {
        use Expression as E;
        let leaves = 3;
        let inner = |maker: &mut Self| maker.expression_of(depth.saturating_sub(1));
        let boxed = |maker: &mut Self| Box::new(inner(maker));
        let expression = match self.random.below(if depth == 0 { leaves } else { 13 }) {
            0 => E::Column(self.random.below(1000)),
            1 => E::Literal(self.literal()),
            2 => E::Parameter { number: self.random.below(10), data_type: self.data_type() },
            3 => E::Binary { op: self.any(), left: boxed(self), right: boxed(self) },
            4 => E::Not(boxed(self)),
            5 => E::Negate(boxed(self)),
            6 => E::IsNull(boxed(self)),
            7 => E::IsTruth { input: boxed(self), truth: self.random.chance(50) },
            8 => E::Cast { input: boxed(self), to: self.data_type(), is_try: self.random.chance(50) },
            9 => E::Case {
                branches: self.some(3, |maker| (inner(maker), inner(maker))),
                otherwise: self.some(1, boxed).pop(),
            },
            10 => E::InList { input: boxed(self), list: self.some(4, inner), is_negated: self.random.chance(50) },
            11 => E::Like {
                input: boxed(self),
                pattern: boxed(self),
                is_negated: self.random.chance(50),
                ignores_case: self.random.chance(50),
            },
            _ => {
                let name = ["upper", "", "no such function", "Größe"][self.random.below(4)].to_owned();
                E::Function { name, arguments: self.some(3, inner), returns: self.data_type() }
            }
        };
        self.see(expression_name(&expression));
        expression
    }

    pub(super) fn literal(&mut self) -> Literal {
        let data_type = random_type(&mut self.random, 2);
        let array = random_array(&mut self.random, &data_type, true, 2);
        self.see(format!("literal of {}", type_name(&data_type)));
        if array.is_null(1) {
            self.see("literal NULL");
        }
        Literal::from_array(array.as_ref(), 1).unwrap()
    }

    pub(super) fn schema(&mut self) -> SchemaRef {
        let fields = self.some(3, Self::field);
        // One pair: a map shows more in an order of chance.
        let metadata = self.some(1, |maker| ("key".to_owned(), maker.random.next().to_string()));
        Arc::new(Schema::new(fields).with_metadata(metadata.into_iter().collect()))
    }

    fn field(&mut self) -> FieldRef {
        let data_type = self.data_type();
        let name = ["", "a", "a column with a name that is long", "größe"][self.random.below(4)];
        let metadata = self.some(1, |maker| (maker.random.next().to_string(), String::new()));
        let field = Field::new(name, data_type, self.random.chance(50)).with_metadata(metadata.into_iter().collect());
        let field = field.with_dict_is_ordered(self.random.chance(50));
        if field.dict_is_ordered() == Some(true) {
            self.see("an ordered dictionary");
        }
        Arc::new(field)
    }

    fn data_type(&mut self) -> DataType {
        use DataType as T;
        let data_type = match self.random.below(20) {
            0 => T::ListView(self.field()),
            1 => T::LargeListView(self.field()),
            2 => {
                let fields = UnionFields::try_new([3, 1], [self.field(), self.field()]).unwrap();
                T::Union(fields, self.any())
            }
            3 => T::RunEndEncoded(Arc::new(Field::new("run_ends", T::Int32, false)), self.field()),
            4 => T::Struct(self.some(3, Self::field).into()),
            5 => T::Timestamp(self.any(), self.some(1, |_| Arc::from("Europe/Berlin")).pop()),
            6 => T::Duration(self.any()),
            7 => T::Interval(self.any()),
            8 => T::Time32([TimeUnit::Second, TimeUnit::Millisecond][self.random.below(2)]),
            9 => T::Time64([TimeUnit::Microsecond, TimeUnit::Nanosecond][self.random.below(2)]),
            10 => T::Decimal128(1 + self.random.below(38) as u8, -3),
            11 => T::FixedSizeBinary(self.random.below(3) as i32),
            12 => T::FixedSizeList(self.field(), self.random.below(1_000_000) as i32),
            _ => random_type(&mut self.random, 3),
        };
        self.see(type_name(&data_type));
        data_type
    }
}
