//! The rows of a batch by the folder of the output that they belong to.
//!
//! In: batches; the columns that the output is partitioned by. Out: for each folder its rows, without those columns. Never: a row left out;
//! two values in one folder, except an empty text and one that is spelled like it.
//!
//! Folders are named as Hive names them: `column=value/column=value`, NULL as `__HIVE_DEFAULT_PARTITION__`, and `%XX` for the bytes that
//! paths or readers take for something else.

use std::{collections::HashMap, sync::Arc};

use super::Target;
use crate::{
    batch::{
        Batch, CanonicalOrder,
        array::{RecordBatchOptions, UInt32Array},
        canonical_floats,
        datatypes::{Schema, SchemaRef},
        take_rows,
    },
    error::Result,
    expression::{Expression, SortKey},
    format::Shown,
    operator::sort::SortSpec,
};

/// What Hive calls the folder of NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Rows of a batch.
pub(super) struct Split {
    /// By folder, without the columns that are in its name.
    pub(super) parts: Vec<(String, Batch)>,
    /// Of folders that are not wanted.
    pub(super) rest: Option<Batch>,
}

/// How rows are spread over folders.
pub(super) struct Folders {
    by: Vec<usize>,
    order: CanonicalOrder,
    /// The columns that stand in files, and their schema.
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl Folders {
    /// For rows of these columns.
    pub(super) fn new(target: &Target, schema: &SchemaRef) -> Result<Folders> {
        let by = target.folder_columns(schema)?;
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|column| !by.contains(column)).collect();
        let order = CanonicalOrder::new(&Schema::project(schema, &by)?)?;
        Ok(Folders { by, order, schema: Arc::new(schema.project(&kept)?), kept })
    }

    /// The columns that stand in files.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The order in which the rows of a folder stand together.
    pub(super) fn order(&self, schema: &SchemaRef) -> SortSpec {
        let key = |column: &usize| SortKey {
            expression: Expression::Column(*column),
            is_descending: false,
            nulls_first: true,
        };
        SortSpec { keys: self.by.iter().map(key).collect(), schema: Arc::clone(schema), skip: 0, fetch: None }
    }

    /// The rows by folder; a folder may come twice. Rows of a folder that is not wanted come back as they are, with all their columns.
    pub(super) fn split(&self, batch: &Batch, mut wants: impl FnMut(&str) -> bool) -> Result<Split> {
        if self.by.is_empty() {
            return Ok(Split { parts: vec![(String::new(), batch.clone())], rest: None });
        }
        let values = batch.project(&self.by)?;
        let columns = values.columns().iter().map(canonical_floats).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(values.num_rows()));
        let values = Batch::try_new_with_options(values.schema(), columns, &options)?;
        let keys = self.order.encode(&values)?;
        let mut places = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            let place = *places.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(row as u32);
        }
        let rest = batch.project(&self.kept)?;
        let shown = values.columns().iter().map(Shown::new).collect::<Result<Vec<_>>>()?;
        let is_whole = groups.len() == 1;
        let (mut parts, mut unwanted) = (Vec::with_capacity(groups.len()), Vec::new());
        for rows in groups {
            let folder = self.folder(&values, &shown, rows[0] as usize)?;
            if !wants(&folder) {
                unwanted.extend(rows);
            } else if is_whole {
                parts.push((folder, rest.clone()));
            } else {
                parts.push((folder, take_rows(&rest, &UInt32Array::from(rows))?));
            }
        }
        let rest = match unwanted.len() {
            0 => None,
            all if all == batch.num_rows() => Some(batch.clone()),
            _ => Some(take_rows(batch, &UInt32Array::from(unwanted))?),
        };
        Ok(Split { parts, rest })
    }

    /// The folder of a row.
    fn folder(&self, values: &Batch, shown: &[Shown<'_>], row: usize) -> Result<String> {
        let (mut folder, mut value) = (String::new(), String::new());
        for (field, column) in values.schema_ref().fields().iter().zip(shown) {
            if !folder.is_empty() {
                folder.push('/');
            }
            escape(field.name(), &mut folder);
            folder.push('=');
            if column.is_null(row) {
                folder.push_str(NULL_FOLDER);
                continue;
            }
            value.clear();
            column.write(row, &mut value)?;
            match value.strip_prefix('_').filter(|_| value == NULL_FOLDER) {
                // A text that is spelled as NULL is.
                Some(rest) => {
                    folder.push_str("%5F");
                    folder.push_str(rest);
                }
                None => escape(&value, &mut folder),
            }
        }
        Ok(folder)
    }
}

/// Appends a part of a folder's name.
fn escape(part: &str, out: &mut String) {
    for letter in part.chars() {
        let is_special = matches!(
            letter,
            '\0'..='\x1f'
                | '"'
                | '#'
                | '%'
                | '\''
                | '*'
                | '/'
                | ':'
                | '='
                | '?'
                | '\\'
                | '\x7f'
                | '{'
                | '['
                | ']'
                | '^'
        );
        if is_special {
            out.push_str(&format!("%{:02X}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        batch::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray},
        batch::datatypes::Int64Type,
        format::FileFormat,
    };

    #[test]
    fn rows_stand_in_the_folder_of_their_values() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a"),
            None,
            Some("x/y=50%"),
            Some("a"),
            Some(NULL_FOLDER),
            Some(""),
            None,
        ]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0, 2.5, -0.0, 0.0, f64::NAN, 1.0]));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..7));
        let batch =
            Batch::try_from_iter_with_nullable([("na:me", names, true), ("n", numbers, false), ("f", floats, false)]);
        let batch = batch.unwrap();
        let partitioned_by = vec!["na:me".to_owned(), "f".to_owned()];
        let target = Target { partitioned_by, ..Target::new("out", FileFormat::Csv) };
        let folders = Folders::new(&target, batch.schema_ref()).unwrap();
        assert_eq!(folders.schema().fields().len(), 1);
        let mut found: Vec<(String, Vec<i64>)> = Vec::new();
        let Split { parts, rest } = folders.split(&batch, |folder| !folder.ends_with("f=1.0")).unwrap();
        // Rows that are not wanted have all columns.
        let rest = rest.unwrap();
        assert_eq!((rest.num_rows(), rest.num_columns()), (2, 3));
        let unwanted = folders.split(&rest, |_| true).unwrap();
        assert!(unwanted.rest.is_none());
        for (folder, rows) in parts.into_iter().chain(unwanted.parts) {
            found.push((folder, rows.column(0).as_primitive::<Int64Type>().values().to_vec()));
        }
        found.sort();
        let expected = [
            ("na%3Ame=%5F_HIVE_DEFAULT_PARTITION__/f=0.0", vec![4]),
            ("na%3Ame=/f=NaN", vec![5]),
            ("na%3Ame=__HIVE_DEFAULT_PARTITION__/f=1.0", vec![1, 6]),
            ("na%3Ame=a/f=0.0", vec![0, 3]),
            ("na%3Ame=x%2Fy%3D50%25/f=2.5", vec![2]),
        ];
        assert_eq!(found, expected.map(|(folder, rows)| (folder.to_owned(), rows)));
        for wrong in [vec!["nope"], vec!["f", "f"]] {
            let partitioned_by = wrong.into_iter().map(str::to_owned).collect();
            let target = Target { partitioned_by, ..target.clone() };
            assert!(target.check(batch.schema_ref()).unwrap_err().is_user());
        }
    }
}
