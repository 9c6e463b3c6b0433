//! The keys of groups, in the form that is compared fastest.
//!
//! In: key columns, a batch at a time. Out: for each row something to compare and to keep; in the end the columns of the groups.
//! Never: decides a form by the first rows alone; what turns out not to fit is changed, once, for the whole table.
//!
//! ```text
//!   no column              nothing: all rows are one group
//!   one string             views (bytes.rs), NULL among them
//!   fits 64 or 128 bits    packed.rs: level 0 without bits for NULL if that saves half, level 1 with them; short strings fit too
//!   all else               arrow's rows, kept like strings: level 2
//! ```
//! A table goes up the levels when a row does not fit; the hashes of the rows do not depend on the level, so tables of several
//! threads are brought to one level and merged.

mod bytes; // strings as views of 16 bytes, short ones inside
mod packed; // several columns in one number

pub(super) use bytes::{ByteStore, is_bytes};
pub(super) use packed::{column_of_natives, natives_of};

use std::sync::Arc;

use packed::Layout;

use super::{
    spec::AggregateError,
    table::{Probe, Table},
};
use crate::{
    batch::{
        array::ArrayRef,
        buffer::Buffer,
        datatypes::DataType,
        row::{RowConverter, SortField},
    },
    error::Result,
    kernel::FewKeys,
};

/// Levels of a table's keys, from the tightest.
pub(super) const LEVEL_ROWS: usize = 2;

/// The keys of the groups of one table.
pub(super) struct Keys {
    types: Arc<[DataType]>,
    level: usize,
    store: Store,
}

enum Store {
    Nothing,
    Words(Layout, Vec<u64>),
    Wide(Layout, Vec<u128>),
    Bytes(ByteStore),
    Rows(RowConverter, ByteStore),
}

/// The keys of the rows of a batch, in a store's form. Kept between batches, to be filled again.
#[derive(Default)]
pub(super) struct RowKeys {
    words: Vec<u64>,
    wide: Vec<u128>,
    views: Vec<u128>,
    blocks: Vec<Buffer>,
}

impl Keys {
    /// Keys of columns of these types; fails if they cannot be keys.
    pub(super) fn new(types: &Arc<[DataType]>) -> Result<Keys> {
        Keys::at_level(types, 0)
    }

    fn at_level(types: &Arc<[DataType]>, wanted: usize) -> Result<Keys> {
        let packed = |level: usize| Layout::new(types, level == 1);
        let (level, store) = match &types[..] {
            [] => (0, Store::Nothing),
            [one] if is_bytes(one) => (0, Store::Bytes(ByteStore::default())),
            _ => {
                let with_nulls = packed(1);
                // Without bits for NULL it is worth to try if that brings the key into a smaller number.
                let words_of = |layout: &Option<Layout>| layout.as_ref().map(|layout| layout.bit_count().div_ceil(64));
                let tight = packed(0).filter(|tight| {
                    let spared = words_of(&with_nulls) != Some(tight.bit_count().div_ceil(64));
                    wanted == 0 && spared
                });
                match (tight, with_nulls) {
                    (Some(tight), _) => (0, words(tight)),
                    (None, Some(layout)) if wanted <= 1 => (1, words(layout)),
                    _ => (LEVEL_ROWS, rows(types)?),
                }
            }
        };
        Ok(Keys { types: Arc::clone(types), level, store })
    }

    /// No groups yet, in the same form.
    pub(super) fn like(&self) -> Result<Keys> {
        Keys::at_level(&self.types, self.level)
    }

    /// There are no key columns: all rows are one group.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.store, Store::Nothing)
    }

    /// How far it went up; tables of one level can be merged.
    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// The same groups at another level.
    pub(super) fn raised(&self, level: usize, groups: usize) -> Result<Keys> {
        let mut raised = Keys::at_level(&self.types, level)?;
        let ids: Vec<u32> = (0..groups as u32).collect();
        let columns = self.columns(&ids)?;
        let mut keys = RowKeys::default();
        if !raised.encode(&columns, &mut keys)? {
            // Keys with NULLs that have no room at this level.
            return self.raised(raised.level + 1, groups);
        }
        let RowKeys { words, wide, .. } = &mut keys;
        match &mut raised.store {
            Store::Nothing => {}
            Store::Words(_, store) => std::mem::swap(store, words),
            Store::Wide(_, store) => std::mem::swap(store, wide),
            Store::Bytes(store) | Store::Rows(_, store) => {
                let blocks: Vec<&[u8]> = keys.blocks.iter().map(Buffer::as_slice).collect();
                keys.views.iter().for_each(|view| store.push(*view, &blocks));
            }
        }
        Ok(raised)
    }

    /// Brings the rows of these columns into the form of the store, in `keys`; `false` if one does not fit.
    pub(super) fn encode(&self, columns: &[ArrayRef], keys: &mut RowKeys) -> Result<bool> {
        match &self.store {
            Store::Nothing => {}
            Store::Words(layout, _) => return Ok(layout.pack(columns, &mut keys.words)),
            Store::Wide(layout, _) => return Ok(layout.pack(columns, &mut keys.wide)),
            Store::Bytes(_) => keys.set_views(&columns[0]),
            Store::Rows(converter, _) => {
                let rows: ArrayRef = Arc::new(converter.convert_columns(columns)?.try_into_binary()?);
                keys.set_views(&rows);
            }
        }
        Ok(true)
    }

    /// The keys of `groups` of this store, in `keys`, to be found in another table.
    fn copy_out(&self, groups: &[u32], keys: &mut RowKeys) {
        match &self.store {
            Store::Nothing => {}
            Store::Words(_, store) => copy_some(store, groups, &mut keys.words),
            Store::Wide(_, store) => copy_some(store, groups, &mut keys.wide),
            Store::Bytes(store) | Store::Rows(_, store) => copy_some(&store.views, groups, &mut keys.views),
        }
    }

    /// Finds the group of each row of `keys`, or makes it.
    pub(super) fn assign(&mut self, table: &mut Table, keys: &RowKeys, visit: Visit<'_>) -> Result<()> {
        let blocks: Vec<&[u8]> = keys.blocks.iter().map(Buffer::as_slice).collect();
        self.assign_over(table, keys, &blocks, visit)
    }

    /// Finds the group of each row of `keys`, or [`ABSENT`](super::table::ABSENT).
    pub(super) fn find(&mut self, table: &Table, keys: &RowKeys, hashes: &[u64], groups: &mut Vec<u32>) {
        let blocks: Vec<&[u8]> = keys.blocks.iter().map(Buffer::as_slice).collect();
        match &mut self.store {
            Store::Nothing => {
                groups.clear();
                groups.resize(hashes.len(), 0);
            }
            Store::Words(_, store) => table.find(&Numbers { store, keys: &keys.words }, hashes, groups),
            Store::Wide(_, store) => table.find(&Numbers { store, keys: &keys.wide }, hashes, groups),
            Store::Bytes(store) | Store::Rows(_, store) => {
                table.find(&Views { store, keys: &keys.views, blocks: &blocks }, hashes, groups);
            }
        }
    }

    /// The group's key is a string that stands inside its view.
    pub(super) fn is_short(&self, group: u32) -> bool {
        matches!(&self.store, Store::Bytes(store) if bytes::is_inline(store.views[group as usize]))
    }

    /// These groups, whose keys are short, in this order, to be found at one place each; none where keys are no strings.
    pub(super) fn few(&self, groups: &[u32], line_bits: u32) -> Option<FewKeys> {
        let Store::Bytes(store) = &self.store else { return None };
        let keys = groups.iter().map(|group| (store.views[*group as usize], *group));
        Some(FewKeys::new(keys, line_bits))
    }

    /// Finds the group of each of `groups` of `other`, which is of the same level, or makes it.
    pub(super) fn assign_from(
        &mut self,
        table: &mut Table,
        other: &Keys,
        groups: &[u32],
        keys: &mut RowKeys,
        visit: Visit<'_>,
    ) -> Result<()> {
        other.copy_out(groups, keys);
        let blocks = match &other.store {
            Store::Bytes(store) | Store::Rows(_, store) => store.blocks(),
            _ => Vec::new(),
        };
        self.assign_over(table, keys, &blocks, visit)
    }

    fn assign_over(&mut self, table: &mut Table, keys: &RowKeys, blocks: &[&[u8]], visit: Visit<'_>) -> Result<()> {
        let Visit { hashes, groups, grow } = visit;
        match &mut self.store {
            Store::Nothing => {
                groups.clear();
                groups.resize(hashes.len(), 0);
                Ok(())
            }
            Store::Words(_, store) => table.assign(&mut Numbers { store, keys: &keys.words }, hashes, groups, grow),
            Store::Wide(_, store) => table.assign(&mut Numbers { store, keys: &keys.wide }, hashes, groups, grow),
            Store::Bytes(store) | Store::Rows(_, store) => {
                table.assign(&mut Views { store, keys: &keys.views, blocks }, hashes, groups, grow)
            }
        }
    }

    /// The key columns of these groups.
    pub(super) fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.store {
            Store::Nothing => Vec::new(),
            Store::Words(layout, store) => {
                let mut keys = Vec::new();
                copy_some(store, groups, &mut keys);
                layout.unpack(&keys)?
            }
            Store::Wide(layout, store) => {
                let mut keys = Vec::new();
                copy_some(store, groups, &mut keys);
                layout.unpack(&keys)?
            }
            Store::Bytes(store) => {
                let views = groups.iter().map(|group| store.views[*group as usize]);
                vec![bytes::column_of(&self.types[0], views, &store.blocks())?]
            }
            Store::Rows(converter, store) => {
                let mut ends = Vec::with_capacity(groups.len() + 1);
                let views = groups.iter().map(|group| store.views[*group as usize]);
                let rows = bytes::gather(views, &store.blocks(), |end| {
                    ends.push(end);
                    Ok(())
                })?;
                let parser = converter.parser();
                converter.convert_rows(ends.windows(2).map(|ends| parser.parse(&rows[ends[0]..ends[1]])))?
            }
        })
    }

    /// Bytes of one group, without the arena.
    pub(super) fn bytes_per_group(&self) -> u64 {
        match &self.store {
            Store::Nothing => 0,
            Store::Words(..) => 8,
            Store::Wide(..) | Store::Bytes(_) | Store::Rows(..) => 16,
        }
    }

    /// Bytes of the arena.
    pub(super) fn arena_bytes(&self) -> u64 {
        match &self.store {
            Store::Bytes(store) | Store::Rows(_, store) => store.arena_bytes(),
            _ => 0,
        }
    }
}

fn words(layout: Layout) -> Store {
    if layout.bit_count() <= 64 { Store::Words(layout, Vec::new()) } else { Store::Wide(layout, Vec::new()) }
}

fn rows(types: &[DataType]) -> Result<Store> {
    if let Some(data_type) = types.iter().find(|t| !RowConverter::supports_fields(&[SortField::new((*t).clone())])) {
        return Err(AggregateError::UnsupportedKey { data_type: data_type.clone() }.into());
    }
    let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
    Ok(Store::Rows(RowConverter::new(fields)?, ByteStore::default()))
}

fn copy_some<T: Copy>(from: &[T], groups: &[u32], into: &mut Vec<T>) {
    into.clear();
    into.extend(groups.iter().map(|group| from[*group as usize]));
}

impl RowKeys {
    fn set_views(&mut self, column: &ArrayRef) {
        let (views, blocks) = bytes::views_of(column);
        self.views.clear();
        self.views.extend_from_slice(&views);
        self.blocks = blocks;
    }
}

/// The rows that visit a table: their hashes, the groups found for them, and leave to hold more groups.
pub(super) struct Visit<'a> {
    /// One a row.
    pub(super) hashes: &'a [u64],
    /// Is filled with the group of each row.
    pub(super) groups: &'a mut Vec<u32>,
    /// Is asked before the table holds as many groups.
    pub(super) grow: &'a mut dyn FnMut(usize) -> Result<()>,
}

struct Numbers<'a, K> {
    store: &'a mut Vec<K>,
    keys: &'a [K],
}

impl<K: Copy + Eq> Probe for Numbers<'_, K> {
    #[inline(always)]
    fn is_equal(&self, group: u32, row: usize) -> bool {
        self.store[group as usize] == self.keys[row]
    }
    #[inline(always)]
    fn push(&mut self, row: usize) {
        self.store.push(self.keys[row]);
    }
}

struct Views<'a> {
    store: &'a mut ByteStore,
    keys: &'a [u128],
    blocks: &'a [&'a [u8]],
}

impl Probe for Views<'_> {
    #[inline(always)]
    fn is_equal(&self, group: u32, row: usize) -> bool {
        self.store.is_equal(group, self.keys[row], self.blocks)
    }
    #[inline(always)]
    fn is_same(&self, group: u32, row: usize) -> bool {
        self.store.is_same(group, self.keys[row])
    }
    #[inline(always)]
    fn push(&mut self, row: usize) {
        self.store.push(self.keys[row], self.blocks);
    }
}
