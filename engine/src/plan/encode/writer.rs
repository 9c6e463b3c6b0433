//! Writing: numbers, flags, texts and lists, one after the other.
//!
//! In: values. Out: their bytes, little-endian. Never: a length beyond its cap, so that what was written can be read.

use std::sync::Arc;

use super::{CHECKSUM_BYTES, EncodeError, ITEMS_MAX, NODES_MAX, PLAN_BYTES_MAX, TEXT_BYTES_MAX, Tagged, within};
use crate::{error::Result, scan::Table};

/// A plan's bytes as they grow.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// Nodes of all expressions so far.
    pub(super) nodes: usize,
    /// The tables that were written, each with its number.
    pub(super) tables: Vec<(Arc<Table>, usize)>,
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub(super) fn tag<T: Tagged>(&mut self, value: &T) {
        self.u8(value.tag());
    }

    /// What is counted from 0: a place in a list.
    pub(super) fn number(&mut self, what: &'static str, value: usize) -> Result<()> {
        let value = within(what, value, u32::MAX as usize)?;
        self.bytes.extend_from_slice(&(value as u32).to_le_bytes());
        Ok(())
    }

    /// How many rows or bytes.
    pub(super) fn size(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(super) fn text(&mut self, what: &'static str, value: &str) -> Result<()> {
        self.long(what, value.as_bytes())
    }

    /// Bytes behind their length.
    pub(super) fn long(&mut self, what: &'static str, value: &[u8]) -> Result<()> {
        self.number(what, within(what, value.len(), TEXT_BYTES_MAX)?)?;
        self.raw(value)
    }

    /// Bytes whose length the reader knows.
    pub(super) fn raw(&mut self, value: &[u8]) -> Result<()> {
        within("bytes", self.bytes.len().saturating_add(value.len()), PLAN_BYTES_MAX - CHECKSUM_BYTES)?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    pub(super) fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Writer, T) -> Result<()>,
    ) -> Result<()> {
        self.flag(value.is_some());
        value.map_or(Ok(()), |value| write(self, value))
    }

    /// The items behind their count.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        items: &[T],
        mut write: impl FnMut(&mut Writer, &T) -> Result<()>,
    ) -> Result<()> {
        self.number(what, within(what, items.len(), ITEMS_MAX)?)?;
        items.iter().try_for_each(|item| write(self, item))
    }

    /// Nodes of one more expression.
    pub(super) fn add_nodes(&mut self, count: usize) -> Result<(), EncodeError> {
        self.nodes = within("nodes of expressions", self.nodes.saturating_add(count), NODES_MAX)?;
        Ok(())
    }
}
