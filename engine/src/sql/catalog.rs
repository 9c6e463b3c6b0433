//! Tables by name.
//!
//! In: names and tables. Out: the table of a name, whatever its case. Never: opens a file; a path in the place of a name is opened
//! where names are resolved.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::scan::Table;

/// The tables that statements may name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// By name in lower case.
    tables: BTreeMap<String, Arc<Table>>,
    /// What relative paths are relative to, if not to the process's own folder.
    folder: Option<PathBuf>,
    /// Bytes of a split of files in the place of a name, where the user has said it.
    bytes_per_split: Option<u64>,
}

impl Catalog {
    /// A catalog without tables.
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// From now on relative paths in the place of a name start in `folder`: that of whoever wrote the statement.
    pub fn set_folder(&mut self, folder: impl Into<PathBuf>) {
        self.folder = Some(folder.into());
    }

    /// A path in the place of a name, as it is opened.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }

    /// From now on files in the place of a name are read in splits of about so many bytes, if it is said how many.
    pub fn set_bytes_per_split(&mut self, bytes: Option<u64>) {
        self.bytes_per_split = bytes;
    }

    /// Bytes of a split of files in the place of a name, where the user has said it.
    pub fn bytes_per_split(&self) -> Option<u64> {
        self.bytes_per_split
    }

    /// Makes `table` known as `name`; a table of that name before is forgotten and given back.
    pub fn insert(&mut self, name: &str, table: Arc<Table>) -> Option<Arc<Table>> {
        self.tables.insert(name.to_lowercase(), table)
    }

    /// Forgets the table of this name.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Table>> {
        self.tables.remove(&name.to_lowercase())
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(&name.to_lowercase())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}
