//! Reading: numbers, flags, texts and lists, one after the other.
//!
//! In: bytes from another process. Out: values. Never: memory by a length that was not compared with the bytes that are left; a flag that is
//! neither 0 nor 1; a panic.

use std::sync::Arc;

use super::{EncodeError, ITEMS_MAX, NODES_MAX, TEXT_BYTES_MAX, Tagged, within};
use crate::{
    error::Result,
    plan::closures::Closures,
    scan::{OpenedTables, Table},
};

/// A plan's content as it is read, with what this process puts into it.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    /// Nodes of all expressions so far.
    pub(super) nodes: usize,
    pub(super) closures: &'a Closures,
    pub(super) opened: &'a OpenedTables,
    /// The plan's tables, by number.
    pub(super) tables: Vec<Arc<Table>>,
    /// So many of them have been asked for: they stand in the order of their first use.
    pub(super) tables_used: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a [u8], closures: &'a Closures, opened: &'a OpenedTables) -> Reader<'a> {
        Reader { rest: content, nodes: 0, closures, opened, tables: Vec::new(), tables_used: 0 }
    }

    fn array<const BYTES: usize>(&mut self, what: &'static str) -> Result<[u8; BYTES]> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(EncodeError::Ends { what })?;
        self.rest = rest;
        Ok(*field)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(EncodeError::Malformed { what }.into()),
        }
    }

    pub(super) fn tag<T: Tagged>(&mut self) -> Result<T> {
        let found = self.u8(T::WHAT)?;
        T::of_tag(found).ok_or_else(|| EncodeError::UnknownTag { what: T::WHAT, found }.into())
    }

    pub(super) fn number(&mut self, what: &'static str) -> Result<usize> {
        Ok(self.u32(what)? as usize)
    }

    pub(super) fn size(&mut self, what: &'static str) -> Result<usize> {
        usize::try_from(self.u64(what)?).map_err(|_| EncodeError::Malformed { what }.into())
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str> {
        let bytes = self.long(what)?;
        str::from_utf8(bytes).map_err(|_| EncodeError::Malformed { what }.into())
    }

    pub(super) fn long(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let length = within(what, self.number(what)?, TEXT_BYTES_MAX)?;
        self.raw(what, length)
    }

    pub(super) fn raw(&mut self, what: &'static str, length: usize) -> Result<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or(EncodeError::Ends { what })?;
        self.rest = rest;
        Ok(field)
    }

    pub(super) fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.flag(what)? { read(self).map(Some) } else { Ok(None) }
    }

    /// How many items follow, each of at least one byte.
    pub(super) fn count(&mut self, what: &'static str, max: usize) -> Result<usize> {
        let count = within(what, self.number(what)?, max)?;
        if count > self.rest.len() { Err(EncodeError::Ends { what }.into()) } else { Ok(count) }
    }

    /// The list grows as its items are read, never ahead of them.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..self.count(what, ITEMS_MAX)? {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Nodes of one more expression.
    pub(super) fn add_nodes(&mut self, count: usize) -> Result<(), EncodeError> {
        self.nodes = within("nodes of expressions", self.nodes.saturating_add(count), NODES_MAX)?;
        Ok(())
    }
}
