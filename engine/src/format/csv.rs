//! CSV: columns' types from a sample, then arrow's decoder.
//!
//! In: bytes of a file, in order. Out: batches. Never: guesses a type again after the table was opened; a value that does not fit is
//! an error with its line.
//!
//! A deficit, accepted for now: a file is one split, since a newline inside quotes cannot be told from a record's end without
//! reading from the start.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::csv::{
    ReaderBuilder,
    reader::{Decoder, Format},
};
use bytes::{Buf, Bytes};

use super::Decode;
use crate::{
    batch::{
        ArrowError, Batch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{Cause, Kind, Result},
    limits,
};

/// How much of the file is read at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// The columns of the file that starts with `sample`: the first line names them.
pub fn infer_schema(path: &Path, sample: &Bytes, is_whole: bool) -> Result<SchemaRef> {
    let failed = |source| CsvError { path: path.to_owned(), source };
    // The sample's last line may be cut.
    let end = if is_whole {
        sample.len()
    } else {
        memchr::memrchr(b'\n', sample).map_or(sample.len(), |newline| newline + 1)
    };
    let format = Format::default().with_header(true);
    let (schema, _) = format.infer_schema(sample.slice(..end).reader(), Some(limits::SAMPLE_ROWS)).map_err(failed)?;
    if schema.fields().is_empty() {
        return Err(
            failed(ArrowError::CsvError("the first line, which must name the columns, is empty".to_owned())).into()
        );
    }
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::Null => Field::new(field.name(), DataType::Utf8View, true),
        data_type => Field::new(field.name(), data_type.clone(), true),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Decodes a whole file.
pub struct CsvDecoder {
    path: PathBuf,
    file_bytes: u64,
    asked: u64,
    /// Not `asked`: what is read ahead has not come yet, and the last record ends only with the last byte.
    fed: u64,
    decoder: Decoder,
    schema: SchemaRef,
    order: Vec<usize>,
    piece: Bytes,
    is_flushed: bool,
    rows_seen: u64,
}

impl CsvDecoder {
    /// The `columns` of the file, in that order.
    pub fn new(
        path: PathBuf,
        file_bytes: u64,
        schema: &SchemaRef,
        columns: &[usize],
        rows_per_batch: usize,
    ) -> CsvDecoder {
        let mut in_file = columns.to_vec();
        in_file.sort_unstable();
        in_file.dedup();
        let order = columns.iter().map(|column| in_file.partition_point(|c| c < column)).collect();
        let fields = columns.iter().map(|column| schema.field(*column).clone());
        let given = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let decoder = ReaderBuilder::new(Arc::clone(schema))
            .with_header(true)
            .with_batch_size(rows_per_batch)
            .with_projection(in_file)
            .build_decoder();
        let piece = Bytes::new();
        CsvDecoder {
            path,
            file_bytes,
            asked: 0,
            fed: 0,
            decoder,
            schema: given,
            order,
            piece,
            is_flushed: false,
            rows_seen: 0,
        }
    }

    fn failure(&self, source: ArrowError) -> CsvError {
        CsvError { path: self.path.clone(), source }
    }

    /// The rows that were decoded since the last call.
    fn flush(&mut self) -> Result<Option<Batch>> {
        let Some(batch) = self.decoder.flush().map_err(|source| self.failure(source))? else { return Ok(None) };
        self.rows_seen += batch.num_rows() as u64;
        let columns = self.order.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(Some(Batch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

impl Decode for CsvDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        if self.asked >= self.file_bytes {
            return None;
        }
        let range = self.asked..self.file_bytes.min(self.asked + PIECE_BYTES);
        self.asked = range.end;
        Some(vec![range])
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        self.piece = bytes.into_iter().next().unwrap_or_default();
        self.fed += self.piece.len() as u64;
        Ok(())
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        while !self.piece.is_empty() {
            let used = self.decoder.decode(&self.piece).map_err(|source| self.failure(source))?;
            self.piece.advance(used);
            if self.decoder.capacity() == 0 || used == 0 {
                return self.flush();
            }
        }
        if self.fed >= self.file_bytes && !self.is_flushed {
            self.is_flushed = true;
            // An empty input tells the decoder that the last record is over, even without a newline.
            self.decoder.decode(&[]).map_err(|source| self.failure(source))?;
            return self.flush();
        }
        Ok(None)
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading {} as CSV", path.display())]
struct CsvError {
    path: PathBuf,
    source: ArrowError,
}

impl Cause for CsvError {
    fn kind(&self) -> Kind {
        match self.source {
            ArrowError::InvalidArgumentError(_) | ArrowError::NotYetImplemented(_) => Kind::Unsupported,
            _ => Kind::Corrupt,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::array::AsArray;

    /// Decodes the file as a scan does: the next piece is asked for before the one that came is decoded.
    fn rows(text: &str, rows_per_batch: usize) -> Vec<(i64, String)> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let schema = infer_schema(Path::new("t.csv"), &bytes, true).unwrap();
        let mut decoder = CsvDecoder::new("t.csv".into(), bytes.len() as u64, &schema, &[1, 0], rows_per_batch);
        let mut found = Vec::new();
        let mut wanted = decoder.wants();
        while let Some(ranges) = wanted {
            let pieces = ranges.iter().map(|range| bytes.slice(range.start as usize..range.end as usize)).collect();
            decoder.feed(pieces).unwrap();
            wanted = decoder.wants();
            while let Some(batch) = decoder.batch().unwrap() {
                assert!(batch.num_rows() <= rows_per_batch);
                let texts = batch.column(0).as_string_view();
                let numbers = batch.column(1).as_primitive::<crate::batch::datatypes::Int64Type>();
                found.extend((0..batch.num_rows()).map(|row| (numbers.value(row), texts.value(row).to_owned())));
            }
        }
        found
    }

    #[test]
    fn records_over_the_borders_of_pieces_are_whole() {
        // Lines of 8 bytes but for the header: their number decides where a piece's border cuts a record.
        for extra in 0..9 {
            let count = (2 * PIECE_BYTES / 12 + extra) as i64;
            let mut text = format!("n,\"{}\"\n", "t".repeat(extra as usize + 1));
            let expected: Vec<(i64, String)> = (0..count).map(|n| (n, format!("a\n{n}"))).collect();
            expected.iter().for_each(|(n, word)| text.push_str(&format!("{n},\"{word}\"\n")));
            assert!(text.len() as u64 > PIECE_BYTES);
            assert!(rows(&text, 10_000) == expected, "{extra}");
        }
    }

    #[test]
    fn the_last_record_needs_no_newline() {
        assert_eq!(rows("n,t\n1,a\n2,b", 1), [(1, "a".to_owned()), (2, "b".to_owned())]);
    }
}
