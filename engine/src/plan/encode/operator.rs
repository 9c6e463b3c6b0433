//! The operators' specs: groupings, joins, sorts, scans, targets.
//!
//! In: specs. Out: bytes, and specs again. Never: a path that means another file elsewhere: paths are made absolute when they are written.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use super::{EncodeError, reader::Reader, tagged, writer::Writer};
use crate::{
    error::Result,
    expression::{AggregateCall, AggregateFunction},
    format::FileFormat,
    operator::{
        aggregate::{AggregatePhase, AggregateSpec},
        join::{HashJoinSpec, JoinColumn, JoinFilter, JoinRows, NestedLoopSpec},
        sort::SortSpec,
    },
    scan::{FileDescription, OpenedTables, ScanSpec, Table, TableDescription, TableRows},
    sink::{IfExists, Target},
};

tagged!(AggregateFunction, "aggregate", {
    Count = 0, Sum = 1, Avg = 2, Min = 3, Max = 4, BoolAnd = 5, BoolOr = 6, BitAnd = 7, BitOr = 8, BitXor = 9, VarSample = 10,
    VarPopulation = 11, StddevSample = 12, StddevPopulation = 13, Corr = 14, CovarSample = 15, CovarPopulation = 16,
    RegrSlope = 17, RegrIntercept = 18, RegrR2 = 19, RegrAvgX = 20, RegrAvgY = 21, RegrSxx = 22, RegrSyy = 23, RegrSxy = 24
});
tagged!(AggregatePhase, "phase of a grouping", { Whole = 0, Partial = 1, Final = 2, Merge = 3 });
tagged!(JoinRows, "kind of a join", {
    Inner = 0, ProbeOuter = 1, BuildOuter = 2, Full = 3, ProbeSemi = 4, ProbeAnti = 5, ProbeMark = 6, BuildSemi = 7, BuildAnti = 8,
    BuildMark = 9
});

tagged!(FileFormat, "shape of an output", { Parquet = 0, Csv = 1, Json = 2, Text = 3, Arrow = 4, Fixed = 5 });
tagged!(IfExists, "treatment of an output", { Fail = 0, Overwrite = 1, Append = 2 });

const PROBE: u8 = 0;
const BUILD: u8 = 1;
const MARK: u8 = 2;

const PARQUET: u8 = 0;
const CSV: u8 = 1;
const TEXT: u8 = 2;
const MEMORY: u8 = 3;
const JSON: u8 = 4;
const ARROW: u8 = 5;
const LINES: u8 = 6;
const FIXED: u8 = 7;

impl Writer {
    pub(super) fn aggregate(&mut self, spec: &AggregateSpec) -> Result<()> {
        let AggregateSpec { keys, calls, input, output, phase } = spec;
        self.tag(phase);
        self.expressions("keys", keys)?;
        self.list("aggregates", calls, Writer::aggregate_call)?;
        self.schema(input)?;
        self.schema(output)
    }

    pub(super) fn aggregate_call(&mut self, call: &AggregateCall) -> Result<()> {
        let AggregateCall { function, arguments, filter, is_distinct, order, returns } = call;
        self.tag(function);
        self.expressions("arguments", arguments)?;
        self.option(filter.as_ref(), Writer::expression)?;
        self.flag(*is_distinct);
        self.list("sort keys", order, Writer::sort_key)?;
        self.data_type(returns)
    }

    pub(super) fn hash_join(&mut self, spec: &HashJoinSpec) -> Result<()> {
        let HashJoinSpec { rows, build_keys, probe_keys, filter, output, .. } = spec;
        let HashJoinSpec { nulls_equal, is_null_aware, build, probe, output_schema, .. } = spec;
        self.tag(rows);
        self.expressions("keys", build_keys)?;
        self.expressions("keys", probe_keys)?;
        self.option(filter.as_ref(), Writer::join_filter)?;
        self.list("columns of a join", output, Writer::join_column)?;
        self.flag(*nulls_equal);
        self.flag(*is_null_aware);
        self.schema(build)?;
        self.schema(probe)?;
        self.schema(output_schema)
    }

    pub(super) fn nested_loop(&mut self, spec: &NestedLoopSpec) -> Result<()> {
        let NestedLoopSpec { rows, filter, output, build, probe, output_schema } = spec;
        self.tag(rows);
        self.option(filter.as_ref(), Writer::join_filter)?;
        self.list("columns of a join", output, Writer::join_column)?;
        self.schema(build)?;
        self.schema(probe)?;
        self.schema(output_schema)
    }

    fn join_filter(&mut self, filter: &JoinFilter) -> Result<()> {
        self.expression(&filter.expression)?;
        self.list("columns of a join", &filter.columns, Writer::join_column)
    }

    fn join_column(&mut self, column: &JoinColumn) -> Result<()> {
        let (tag, number) = match column {
            JoinColumn::Probe(number) => (PROBE, Some(*number)),
            JoinColumn::Build(number) => (BUILD, Some(*number)),
            JoinColumn::Mark => (MARK, None),
        };
        self.u8(tag);
        number.map_or(Ok(()), |number| self.number("columns", number))
    }

    pub(super) fn sort(&mut self, spec: &SortSpec) -> Result<()> {
        let SortSpec { keys, schema, skip, fetch } = spec;
        self.list("sort keys", keys, Writer::sort_key)?;
        self.schema(schema)?;
        self.size(*skip);
        self.option(*fetch, |writer, fetch| {
            writer.size(fetch);
            Ok(())
        })
    }

    pub(super) fn target(&mut self, target: &Target) -> Result<()> {
        let Target { path, format, partitioned_by, if_exists, columns } = target;
        let absolute = path::absolute(path);
        self.path(&absolute.map_err(|source| EncodeError::Path { path: path.clone(), source })?)?;
        self.tag(format);
        self.tag(if_exists);
        self.list("columns of folders", partitioned_by, |writer, name| writer.text("name of a column", name))?;
        self.list("columns of an output", columns, |writer, (name, data_type)| {
            writer.text("name of a column", name)?;
            writer.text("type of a column", data_type)
        })
    }

    fn path(&mut self, path: &Path) -> Result<()> {
        self.long("path", path.as_os_str().as_bytes())
    }

    pub(super) fn scan(&mut self, spec: &ScanSpec) -> Result<()> {
        let ScanSpec { table, columns, given, filters, tells_ends } = spec;
        let known = self.tables.iter().find(|(known, _)| Arc::ptr_eq(known, table));
        let number = known.map(|(_, number)| *number).ok_or(EncodeError::Malformed { what: "table of a scan" })?;
        self.number("tables", number)?;
        self.list("columns", columns, |writer, column| writer.number("columns", *column))?;
        self.list("given columns", given, |writer, place| writer.number("given columns", *place))?;
        self.expressions("filters", filters)?;
        self.flag(*tells_ends);
        Ok(())
    }

    /// The tables of all scans, in the order of their first use, equal ones once.
    pub(super) fn tables<'a>(&mut self, scanned: impl Iterator<Item = &'a Arc<Table>>) -> Result<()> {
        let count_at = self.bytes.len();
        self.number("tables", 0)?;
        let mut written = Vec::new();
        for table in scanned {
            if self.tables.iter().any(|(known, _)| Arc::ptr_eq(known, table)) {
                continue;
            }
            let start = self.bytes.len();
            self.table(&table.describe()?)?;
            let this = start..self.bytes.len();
            let bytes = &self.bytes;
            let same = |other: &std::ops::Range<usize>| bytes[other.clone()] == bytes[this.clone()];
            let number = match written.iter().position(same) {
                Some(number) => {
                    self.bytes.truncate(start);
                    number
                }
                None => {
                    written.push(this);
                    written.len() - 1
                }
            };
            self.tables.push((Arc::clone(table), number));
        }
        let count = super::within("tables", written.len(), super::ITEMS_MAX)? as u32;
        self.bytes[count_at..][..4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }

    fn table(&mut self, table: &TableDescription) -> Result<()> {
        let TableDescription { name, schema, codes, bytes_per_split, combines_files, rows } = table;
        self.text("name of a table", name)?;
        self.schema(schema)?;
        self.list("columns of codes", codes, |writer, column| writer.number("columns of codes", *column))?;
        self.option(*bytes_per_split, |writer, bytes| {
            writer.u64(bytes);
            Ok(())
        })?;
        self.flag(*combines_files);
        let (tag, files) = match rows {
            TableRows::Parquet(files) => (PARQUET, files),
            TableRows::Csv(files) => (CSV, files),
            TableRows::Json(files) => (JSON, files),
            TableRows::Text(files) => (TEXT, files),
            TableRows::Arrow(files) => (ARROW, files),
            TableRows::Lines(files, starts) => {
                self.u8(LINES);
                self.list("files", starts, |writer, starts| {
                    writer.list("splits", starts, |writer, start| {
                        writer.u64(*start);
                        Ok(())
                    })
                })?;
                return self.files(files);
            }
            TableRows::Fixed(files, record_bytes) => {
                self.u8(FIXED);
                self.number("bytes of a record", *record_bytes as usize)?;
                return self.files(files);
            }
            TableRows::Memory(batches) => {
                self.u8(MEMORY);
                return self.batches(schema, batches);
            }
        };
        self.u8(tag);
        self.files(files)
    }

    fn files(&mut self, files: &[FileDescription]) -> Result<()> {
        self.list("files", files, |writer, file| {
            let FileDescription { path, bytes, modified_seconds } = file;
            writer.path(path)?;
            writer.u64(*bytes);
            writer.option(*modified_seconds, |writer, seconds| {
                writer.u64(seconds as u64);
                Ok(())
            })
        })
    }
}

impl Reader<'_> {
    pub(super) fn aggregate(&mut self) -> Result<AggregateSpec> {
        let phase = self.tag()?;
        Ok(AggregateSpec {
            keys: self.expressions("keys")?,
            calls: self.list("aggregates", |reader| reader.aggregate_call())?,
            input: self.schema()?,
            output: self.schema()?,
            phase,
        })
    }

    pub(super) fn aggregate_call(&mut self) -> Result<AggregateCall> {
        Ok(AggregateCall {
            function: self.tag()?,
            arguments: self.expressions("arguments")?,
            filter: self.option("filter of an aggregate", |reader| reader.expression())?,
            is_distinct: self.flag("DISTINCT")?,
            order: self.list("sort keys", |reader| reader.sort_key())?,
            returns: self.data_type()?,
        })
    }

    pub(super) fn hash_join(&mut self) -> Result<HashJoinSpec> {
        Ok(HashJoinSpec {
            rows: self.tag()?,
            build_keys: self.expressions("keys")?,
            probe_keys: self.expressions("keys")?,
            filter: self.option("filter of a join", |reader| reader.join_filter())?,
            output: self.list("columns of a join", |reader| reader.join_column())?,
            nulls_equal: self.flag("equality of NULLs")?,
            is_null_aware: self.flag("NOT IN")?,
            build: self.schema()?,
            probe: self.schema()?,
            output_schema: self.schema()?,
        })
    }

    pub(super) fn nested_loop(&mut self) -> Result<NestedLoopSpec> {
        Ok(NestedLoopSpec {
            rows: self.tag()?,
            filter: self.option("filter of a join", |reader| reader.join_filter())?,
            output: self.list("columns of a join", |reader| reader.join_column())?,
            build: self.schema()?,
            probe: self.schema()?,
            output_schema: self.schema()?,
        })
    }

    fn join_filter(&mut self) -> Result<JoinFilter> {
        Ok(JoinFilter {
            expression: self.expression()?,
            columns: self.list("columns of a join", |reader| reader.join_column())?,
        })
    }

    fn join_column(&mut self) -> Result<JoinColumn> {
        Ok(match self.u8("side of a column")? {
            PROBE => JoinColumn::Probe(self.number("number of a column")?),
            BUILD => JoinColumn::Build(self.number("number of a column")?),
            MARK => JoinColumn::Mark,
            found => return Err(EncodeError::UnknownTag { what: "side of a column", found }.into()),
        })
    }

    pub(super) fn sort(&mut self) -> Result<SortSpec> {
        Ok(SortSpec {
            keys: self.list("sort keys", |reader| reader.sort_key())?,
            schema: self.schema()?,
            skip: self.size("rows left out")?,
            fetch: self.option("rows given", |reader| reader.size("rows given"))?,
        })
    }

    pub(super) fn target(&mut self) -> Result<Target> {
        Ok(Target {
            path: self.path()?,
            format: self.tag()?,
            if_exists: self.tag()?,
            partitioned_by: self
                .list("columns of folders", |reader| Ok(reader.text("name of a column")?.to_owned()))?,
            columns: self.list("columns of an output", |reader| {
                Ok((reader.text("name of a column")?.to_owned(), reader.text("type of a column")?.to_owned()))
            })?,
        })
    }

    fn path(&mut self) -> Result<PathBuf> {
        let bytes = self.long("path")?;
        let path = PathBuf::from(OsStr::from_bytes(bytes));
        // As bytes: `/a` and `/a/.` are equal as paths.
        let is_absolute = path::absolute(&path).is_ok_and(|absolute| absolute.as_os_str().as_bytes() == bytes);
        if is_absolute && path.is_absolute() { Ok(path) } else { Err(EncodeError::Malformed { what: "path" }.into()) }
    }

    pub(super) fn scan(&mut self) -> Result<ScanSpec> {
        let number = self.number("number of a table")?;
        let table = self.tables.get(number).filter(|_| number <= self.tables_used).cloned();
        let table = table.ok_or(EncodeError::Malformed { what: "number of a table" })?;
        self.tables_used = self.tables_used.max(number + 1);
        let columns = self.list("columns", |reader| reader.number("number of a column"))?;
        let given = self.list("given columns", |reader| reader.number("place of a given column"))?;
        let filters = self.expressions("filters")?;
        Ok(ScanSpec { table, columns, given, filters, tells_ends: self.flag("telling of ends")? })
    }

    /// Reads the tables and opens them here.
    pub(super) fn tables(&mut self, opened: &OpenedTables) -> Result<()> {
        let mut known: Vec<&[u8]> = Vec::new();
        for _ in 0..self.count("tables", super::ITEMS_MAX)? {
            let before = self.rest;
            let description = self.table()?;
            let bytes = &before[..before.len() - self.rest.len()];
            known.push(bytes);
            self.tables.push(opened.open(&description)?);
        }
        known.sort_unstable();
        let is_known = known.windows(2).any(|two| two[0] == two[1]);
        if is_known { Err(EncodeError::Malformed { what: "table that stands there twice" }.into()) } else { Ok(()) }
    }

    fn table(&mut self) -> Result<TableDescription> {
        let name = self.text("name of a table")?.to_owned();
        let schema = self.schema()?;
        let codes = self.list("columns of codes", |reader| reader.number("column of codes"))?;
        let bytes_per_split = self.option("bytes of a split", |reader| reader.u64("bytes of a split"))?;
        let combines_files = self.flag("combined files")?;
        let shape = self.u8("shape of a table")?;
        let rows = match shape {
            PARQUET => TableRows::Parquet(self.files()?),
            CSV => TableRows::Csv(self.files()?),
            JSON => TableRows::Json(self.files()?),
            TEXT => TableRows::Text(self.files()?),
            ARROW => TableRows::Arrow(self.files()?),
            LINES => {
                let starts =
                    self.list("files", |reader| reader.list("splits", |reader| reader.u64("start of a split")))?;
                TableRows::Lines(self.files()?, starts)
            }
            FIXED => {
                let record_bytes = self.u32("bytes of a record")?;
                TableRows::Fixed(self.files()?, record_bytes)
            }
            MEMORY => TableRows::Memory(self.batches(&schema)?),
            found => return Err(EncodeError::UnknownTag { what: "shape of a table", found }.into()),
        };
        Ok(TableDescription { name, schema, codes, bytes_per_split, combines_files, rows })
    }

    fn files(&mut self) -> Result<Vec<FileDescription>> {
        self.list("files", |reader| {
            let path = reader.path()?;
            let bytes = reader.u64("length of a file")?;
            let modified_seconds = reader.option("time of a file", |reader| reader.u64("time of a file"))?;
            Ok(FileDescription { path, bytes, modified_seconds: modified_seconds.map(|seconds| seconds as i64) })
        })
    }
}
