//! The footer of a Parquet file: read with limits, and checked before it is believed.
//!
//! In: an open file. Out: its metadata and the arrow schema by which Windrow reads it. Never: reserves memory by a length that was
//! not checked against the file's.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bytes::{Buf, Bytes};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, statistics::StatisticsConverter},
    basic::{ConvertedType, Encoding, Type as PhysicalType},
    column::page::{Page, PageReader},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
    schema::types::SchemaDescriptor,
};

use super::{ParquetFailure, pages};
use crate::{
    batch::{
        array::ArrayRef,
        datatypes::{DECIMAL64_MAX_PRECISION, DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    limits,
    store::OpenFile,
};

/// The metadata of one file.
#[derive(Clone, Debug)]
pub struct Footer {
    pub(super) metadata: ArrowReaderMetadata,
    schema: SchemaRef,
    /// The columns as statistics tell their values: those that are decoded, without codes.
    plain: SchemaRef,
}

const TAIL_BYTES: u64 = 8;

impl Footer {
    /// Reads it from the end of `file`, which is `bytes` long.
    pub fn read(file: &OpenFile, path: &Path, bytes: u64) -> Result<Footer> {
        let path = path.to_owned();
        if bytes < TAIL_BYTES + 4 {
            return Err(ParquetFailure::TooShort { path, bytes }.into());
        }
        let tail = file.read(bytes - TAIL_BYTES..bytes)?;
        if &tail[4..] != b"PAR1" {
            return Err(ParquetFailure::NotParquet { path }.into());
        }
        let footer_bytes = u64::from(tail.clone().get_u32_le());
        let limit_bytes = limits::PARQUET_FOOTER_BYTES_MAX.min(bytes - TAIL_BYTES);
        if footer_bytes > limit_bytes {
            return Err(ParquetFailure::FooterTooLong { path, footer_bytes, limit_bytes }.into());
        }
        let offset = bytes - TAIL_BYTES - footer_bytes;
        let failed = |source| ParquetFailure::Footer { path: path.clone(), offset, source };
        let whole = Whole { file, bytes };
        let metadata = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&whole).map_err(failed)?);
        for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            let offset = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            if offset < 0 || column.compressed_size() < 0 || column.num_values() < 0 {
                let negative = ParquetError::General("a column chunk with a negative offset or length".to_owned());
                return Err(failed(negative).into());
            }
            let (start, length) = column.byte_range();
            if start.checked_add(length).is_none_or(|end| end > bytes) {
                let beyond = ParquetError::General(format!(
                    "a column chunk at {start} of {length} bytes lies beyond the file's end"
                ));
                return Err(failed(beyond).into());
            }
        }
        let metadata = pages::with_index(metadata, &whole);
        let natural = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new()).map_err(failed)?;
        let schema = with_views(natural.schema());
        let plain = with_small_decimals(&schema, natural.parquet_schema());
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&plain));
        let metadata = ArrowReaderMetadata::try_new(metadata, options).map_err(failed)?;
        Ok(Footer { metadata, schema, plain })
    }

    /// The same file, whose columns are decoded as they are known.
    pub fn as_known(&self, path: &Path) -> Result<Footer> {
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&self.schema));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(self.metadata.metadata()), options);
        let failed = |source| ParquetFailure::Footer { path: path.to_owned(), offset: 0, source };
        let metadata = metadata.map_err(failed)?;
        Ok(Footer { metadata, schema: Arc::clone(&self.schema), plain: Arc::clone(&self.schema) })
    }

    /// Whether every page of this column of strings refers to a dictionary, and the dictionaries are short.
    pub fn has_codes(&self, column: usize) -> bool {
        let file = self.metadata.parquet_schema();
        let Some(leaf) = self.only_leaf(column) else { return false };
        // The reader of codes takes the type of the values from just this.
        let is_text = self.schema.field(column).data_type() == &DataType::Utf8View
            && file.column(leaf).converted_type() == ConvertedType::UTF8
            && file.column(leaf).max_rep_level() == 0;
        let groups = self.metadata.metadata().row_groups();
        is_text && groups.iter().all(|group| is_all_codes(group.column(leaf)))
    }

    /// The place in the file of a column that is not nested.
    fn only_leaf(&self, column: usize) -> Option<usize> {
        let file = self.metadata.parquet_schema();
        let mut leaves = (0..file.num_columns()).filter(|leaf| file.get_column_root_idx(*leaf) == column);
        leaves.next().filter(|_| leaves.next().is_none())
    }

    /// How many values the first dictionary of this column, of those that [`Footer::has_codes`], has; nothing where it cannot be read.
    pub fn dictionary_values(&self, column: usize, file: &OpenFile) -> Option<usize> {
        let group = self.metadata.metadata().row_groups().first()?;
        let chunk = group.column(self.only_leaf(column)?);
        let start = u64::try_from(chunk.dictionary_page_offset()?).ok()?;
        let end = u64::try_from(chunk.data_page_offset()).ok()?;
        let bytes = file.read(start..end.min(start + u64::from(limits::DICTIONARY_BYTES_MAX))).ok()?;
        let rows = usize::try_from(group.num_rows()).ok()?;
        let page =
            told(|| SerializedPageReader::new(Arc::new(Piece { start, bytes }), chunk, rows, None)?.get_next_page())?;
        match page? {
            Page::DictionaryPage { num_values, .. } => Some(num_values as usize),
            _ => None,
        }
    }

    /// The same file, whose columns `columns`, of those that [`Footer::has_codes`], are decoded as codes into a dictionary.
    pub fn with_codes(&self, columns: &[usize], path: &Path) -> Result<Footer> {
        let codes = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = self.plain.fields().iter().enumerate().map(|(column, field)| match columns.contains(&column) {
            true => Field::clone(field).with_data_type(codes()),
            false => Field::clone(field),
        });
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(self.metadata.metadata()), options);
        let failed = |source| ParquetFailure::Footer { path: path.to_owned(), offset: 0, source };
        Ok(Footer { metadata: metadata.map_err(failed)?, ..self.clone() })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns as they are decoded.
    pub fn decoded_schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// How many row groups there are.
    pub fn row_group_count(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of one row group.
    pub fn rows(&self, row_group: usize) -> u64 {
        self.metadata.metadata().row_group(row_group).num_rows().max(0) as u64
    }

    /// Bytes of these columns in one row group, as they stand in the file.
    pub fn bytes(&self, row_group: usize, columns: &[usize]) -> u64 {
        let descriptor = self.metadata.parquet_schema();
        let chunks = self.metadata.metadata().row_group(row_group).columns().iter().enumerate();
        let asked = chunks.filter(|(leaf, _)| columns.contains(&descriptor.get_column_root_idx(*leaf)));
        asked.map(|(_, chunk)| chunk.compressed_size().max(0) as u64).sum()
    }

    /// The smallest values of column `column` in each row group; NULL where unknown. `None` for types without statistics.
    pub fn minima(&self, column: usize) -> Option<ArrayRef> {
        let groups = self.metadata.metadata().row_groups().iter();
        let statistics = self.statistics(column)?;
        told(|| statistics.row_group_mins(groups))
    }

    /// The largest values of column `column` in each row group; NULL where unknown. `None` for types without statistics.
    pub fn maxima(&self, column: usize) -> Option<ArrayRef> {
        let groups = self.metadata.metadata().row_groups().iter();
        let statistics = self.statistics(column)?;
        told(|| statistics.row_group_maxes(groups))
    }

    pub(super) fn statistics(&self, column: usize) -> Option<StatisticsConverter<'_>> {
        let schema = &self.plain;
        StatisticsConverter::try_new(schema.field(column).name(), schema, self.metadata.parquet_schema()).ok()
    }
}

/// `schema` with strings and binaries as views, which joins and groupings move without copying their bytes.
fn with_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => Field::clone(field).with_data_type(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Field::clone(field).with_data_type(DataType::BinaryView),
        _ => Field::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `schema` with decimals of at most 18 digits as 64 bits, where the file has them so.
fn with_small_decimals(schema: &Schema, file: &SchemaDescriptor) -> SchemaRef {
    let is_small = |column: usize| {
        let mut leaves = (0..file.num_columns()).filter(|leaf| file.get_column_root_idx(*leaf) == column);
        leaves.all(|leaf| match file.column(leaf).physical_type() {
            PhysicalType::INT32 | PhysicalType::INT64 => true,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => file.column(leaf).type_length() <= 8,
            _ => false,
        })
    };
    let fields = schema.fields().iter().enumerate().map(|(column, field)| match field.data_type() {
        DataType::Decimal128(precision, scale) if *precision <= DECIMAL64_MAX_PRECISION && is_small(column) => {
            Field::clone(field).with_data_type(DataType::Decimal64(*precision, *scale))
        }
        _ => Field::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Every data page of the chunk refers to a dictionary, which is short.
fn is_all_codes(chunk: &ColumnChunkMetaData) -> bool {
    let Some(dictionary) = chunk.dictionary_page_offset() else { return false };
    // What it is without compression is not told of the page, only of the chunk.
    let compressed = chunk.data_page_offset().saturating_sub(dictionary);
    let (all, all_compressed) = (chunk.uncompressed_size().max(1), chunk.compressed_size().max(1));
    let bytes = i128::from(compressed) * i128::from(all.max(all_compressed)) / i128::from(all_compressed);
    let only = |encodings: &parquet::basic::EncodingMask| {
        encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY)
    };
    (0..=i128::from(limits::DICTIONARY_BYTES_MAX)).contains(&bytes)
        && chunk.page_encoding_stats_mask().is_some_and(only)
}

/// What the parquet crate makes of statistics or an index, unless it does not like them: some broken ones it takes for a mistake of its own.
pub(super) fn told<T>(ask: impl FnOnce() -> Result<T, ParquetError>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(ask)).ok()?.ok()
}

/// The file as the parquet crate wants to see it.
struct Whole<'a> {
    file: &'a OpenFile,
    bytes: u64,
}

impl Length for Whole<'_> {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Whole<'_> {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.get_bytes(start, self.bytes.saturating_sub(start) as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.bytes);
        let end = end.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} of {}", self.bytes)))?;
        self.file.read(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// A piece of a file, from `start` on.
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn from(&self, place: u64) -> Option<Bytes> {
        let place = usize::try_from(place.checked_sub(self.start)?).ok()?;
        (place <= self.bytes.len()).then(|| self.bytes.slice(place..))
    }
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Piece {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let rest = self.from(start).ok_or_else(|| ParquetError::EOF(format!("nothing at {start}")))?;
        Ok(rest.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.from(start).filter(|rest| length <= rest.len());
        let rest = rest.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start}")))?;
        Ok(rest.slice(..length))
    }
}
