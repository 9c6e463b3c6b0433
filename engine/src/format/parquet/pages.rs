//! Where the pages of a row group begin, by the page index that most writers put before the footer.
//!
//! In: a file's metadata. Out: a row group in pieces that are read and decoded by themselves; the bytes of a piece; per page the smallest and
//! largest value. Never: believes an index that contradicts the column chunks; a file without one has row groups in one piece.

use std::{ops::Range, sync::Arc};

use parquet::file::{
    metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
    page_index::offset_index::{OffsetIndexMetaData, PageLocation},
    reader::ChunkReader,
};

use super::{Footer, footer::told};
use crate::{batch::array::ArrayRef, limits};

/// Of the bytes that a scan reads the share that dictionaries read once more for each piece may be.
const DICTIONARY_SHARE: u64 = 4;

/// `metadata` with the page index of the file, if it has a sound one that is not too long.
pub(super) fn with_index<R: ChunkReader>(metadata: Arc<ParquetMetaData>, file: &R) -> Arc<ParquetMetaData> {
    if index_bytes(&metadata).is_none_or(|bytes| bytes == 0 || bytes > limits::PAGE_INDEX_BYTES_MAX) {
        return metadata;
    }
    let mut reader = ParquetMetaDataReader::new_with_metadata(ParquetMetaData::clone(&metadata))
        .with_page_index_policy(PageIndexPolicy::Optional);
    // What an index tells can be found without it, so a broken one is as none.
    match told(|| reader.read_page_indexes(file).and_then(|()| reader.finish())) {
        Some(indexed) if is_sound(&indexed) => Arc::new(indexed),
        _ => metadata,
    }
}

/// Bytes from the first to the last part of the page index, which are read at once; none if they contradict themselves.
fn index_bytes(metadata: &ParquetMetaData) -> Option<u64> {
    let (mut start, mut end) = (u64::MAX, 0);
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let of_values = chunk.column_index_offset().zip(chunk.column_index_length());
        let of_pages = chunk.offset_index_offset().zip(chunk.offset_index_length());
        for (offset, length) in of_values.into_iter().chain(of_pages) {
            let (offset, length) = (u64::try_from(offset).ok()?, u64::try_from(length).ok()?);
            (start, end) = (start.min(offset), end.max(offset.checked_add(length)?));
        }
    }
    Some(end.saturating_sub(start))
}

fn is_sound(metadata: &ParquetMetaData) -> bool {
    let Some(index) = metadata.offset_index() else { return false };
    let has_all = |(group, pages): (&RowGroupMetaData, &Vec<OffsetIndexMetaData>)| {
        let mut chunks = group.columns().iter().zip(pages);
        group.columns().len() == pages.len()
            && chunks.all(|(chunk, pages)| is_of(pages.page_locations(), chunk, group.num_rows()))
    };
    index.len() == metadata.num_row_groups() && metadata.row_groups().iter().zip(index).all(has_all)
}

/// The pages are all that the chunk has behind its dictionary, one behind the other, and so are their rows.
fn is_of(pages: &[PageLocation], chunk: &ColumnChunkMetaData, rows: i64) -> bool {
    let (start, length) = chunk.byte_range();
    let (mut offset, mut row) = (None, -1);
    for page in pages {
        let (Ok(begins), Ok(bytes)) = (u64::try_from(page.offset), u64::try_from(page.compressed_page_size)) else {
            return false;
        };
        let follows = offset.map_or(begins >= start, |end| begins == end);
        if !follows || page.first_row_index <= row || page.first_row_index >= rows {
            return false;
        }
        (offset, row) = (Some(begins + bytes), page.first_row_index);
    }
    match (pages.first(), offset) {
        (Some(first), Some(end)) => first.first_row_index == 0 && end == start + length,
        _ => rows == 0,
    }
}

impl Footer {
    /// The pages of each column chunk of a row group, if the file tells them.
    fn pages(&self, row_group: usize) -> Option<&[OffsetIndexMetaData]> {
        self.metadata.metadata().offset_index().map(|index| &index[row_group][..])
    }

    /// The column chunks of these columns, in order of their numbers, with their place in the row group.
    fn chunks(&self, row_group: usize, columns: &[usize]) -> impl Iterator<Item = (usize, &ColumnChunkMetaData)> {
        let descriptor = self.metadata.parquet_schema();
        let chunks = self.metadata.metadata().row_group(row_group).columns().iter().enumerate();
        chunks.filter(move |(leaf, _)| columns.contains(&descriptor.get_column_root_idx(*leaf)))
    }

    /// A row group in pieces of about `rows_per_piece` rows for a scan of `columns`, cut where pages of its largest column begin. As few as keep
    /// dictionaries, which every piece reads, from counting.
    pub fn pieces(&self, row_group: usize, columns: &[usize], rows_per_piece: u64) -> Vec<Range<u64>> {
        let rows = self.rows(row_group);
        let largest = self.chunks(row_group, columns).max_by_key(|(_, chunk)| chunk.byte_range().1);
        let Some((pages, (largest, _))) = self.pages(row_group).zip(largest) else {
            return std::iter::once(0..rows).collect();
        };
        let bytes: u64 = self.chunks(row_group, columns).map(|(_, chunk)| chunk.byte_range().1).sum();
        let dictionary = |(leaf, chunk)| dictionary(&pages[leaf], chunk).map_or(0, |range| range.end - range.start);
        let dictionaries: u64 = self.chunks(row_group, columns).map(dictionary).sum();
        let affordable = 1 + bytes / (DICTIONARY_SHARE * dictionaries).max(1);
        let count = ((rows + rows_per_piece / 2) / rows_per_piece.max(1)).min(affordable).max(1);
        let starts = pages[largest].page_locations();
        let mut pieces: Vec<Range<u64>> = Vec::new();
        let mut start = 0;
        for piece in 1..count {
            let wanted = rows / count * piece;
            let after = starts.partition_point(|page| (page.first_row_index as u64) < wanted);
            let near = starts[after.saturating_sub(1)..starts.len().min(after + 1)].iter();
            let end = near.map(|page| page.first_row_index as u64).min_by_key(|first| first.abs_diff(wanted));
            if let Some(end) = end.filter(|end| *end > start) {
                pieces.push(start..end);
                start = end;
            }
        }
        pieces.push(start..rows);
        pieces
    }

    /// Where `rows` of these columns, in order of their numbers, stand: each chunk's dictionary and the pages that hold them.
    pub(super) fn ranges(&self, row_group: usize, columns: &[usize], rows: &Range<u64>) -> Vec<Range<u64>> {
        let is_whole = *rows == (0..self.rows(row_group));
        let pages = self.pages(row_group).filter(|_| !is_whole);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (leaf, chunk) in self.chunks(row_group, columns) {
            let (start, length) = chunk.byte_range();
            let Some(pages) = pages else {
                ranges.push(start..start + length);
                continue;
            };
            let dictionary = dictionary(&pages[leaf], chunk);
            let pages = pages[leaf].page_locations();
            let first = pages.partition_point(|page| page.first_row_index as u64 <= rows.start).saturating_sub(1);
            let end = pages.partition_point(|page| (page.first_row_index as u64) < rows.end);
            let Some((first, last)) = pages.get(first).zip(pages[..end].last()) else { continue };
            let pages = first.offset as u64..last.offset as u64 + last.compressed_page_size as u64;
            match dictionary {
                Some(dictionary) if dictionary.end == pages.start => ranges.push(dictionary.start..pages.end),
                dictionary => ranges.extend(dictionary.into_iter().chain([pages])),
            }
        }
        ranges
    }

    /// The pages of column `column` in a row group: the first row of each, their smallest and largest values, NULL where unknown.
    pub fn page_extremes(&self, row_group: usize, column: usize) -> Option<(Vec<u64>, ArrayRef, ArrayRef)> {
        let metadata = self.metadata.metadata();
        let (values, pages) = (metadata.column_index()?, metadata.offset_index()?);
        let statistics = self.statistics(column)?;
        let leaf = statistics.parquet_column_index()?;
        let minima = told(|| statistics.data_page_mins(values, pages, [&row_group]))?;
        let maxima = told(|| statistics.data_page_maxes(values, pages, [&row_group]))?;
        let firsts = pages[row_group][leaf].page_locations().iter().map(|page| page.first_row_index as u64);
        let firsts: Vec<u64> = firsts.collect();
        (firsts.len() == minima.len() && firsts.len() == maxima.len()).then_some((firsts, minima, maxima))
    }
}

/// Where a chunk's dictionary stands, if it has one: before its first page.
fn dictionary(pages: &OffsetIndexMetaData, chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let (start, _) = chunk.byte_range();
    let first = pages.page_locations().first()?.offset as u64;
    (first > start).then_some(start..first)
}
