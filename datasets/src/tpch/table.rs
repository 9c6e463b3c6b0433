//! The tables of TPC-H, and the parts they are generated in.
//!
//! In: a table, a scale, a part. Out: the batches of that part. Never: parts that depend on anything but table and
//! scale, for their borders are borders of batches, and must be the same for every number of threads.

use std::fmt;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// Smallest scale factor: one supplier. With none, the generator divides by their number.
pub const SCALE_MIN: f64 = 0.000_1;

/// Largest scale factor that TPC-H defines: about 100 TB of text.
pub const SCALE_MAX: f64 = 100_000.0;

/// Rows of a part, about: half a row group, so that threads have work while a row group is being filled.
const ROWS_PER_PART: u64 = 64 << 10;

/// Rows that a generator makes at once. It holds them as structs beside the columns, so fewer are better for the cache.
const ROWS_PER_BATCH: usize = 8 << 10;

/// A table of TPC-H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// 25 rows at every scale.
    Nation,
    /// 5 rows at every scale.
    Region,
    /// 200,000 rows times the scale.
    Part,
    /// 10,000 rows times the scale.
    Supplier,
    /// 800,000 rows times the scale.
    Partsupp,
    /// 150,000 rows times the scale.
    Customer,
    /// 1,500,000 rows times the scale.
    Orders,
    /// About 6,001,000 rows times the scale.
    Lineitem,
}

impl Table {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 8] = [
        Self::Nation,
        Self::Region,
        Self::Part,
        Self::Supplier,
        Self::Partsupp,
        Self::Customer,
        Self::Orders,
        Self::Lineitem,
    ];

    /// The name in SQL and, with `.parquet`, of the file: lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nation => "nation",
            Self::Region => "region",
            Self::Part => "part",
            Self::Supplier => "supplier",
            Self::Partsupp => "partsupp",
            Self::Customer => "customer",
            Self::Orders => "orders",
            Self::Lineitem => "lineitem",
        }
    }

    /// The table with this [`Table::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    pub(super) fn schema(self) -> SchemaRef {
        match self {
            Self::Nation => NationArrow::schema_ref(),
            Self::Region => RegionArrow::schema_ref(),
            Self::Part => PartArrow::schema_ref(),
            Self::Supplier => SupplierArrow::schema_ref(),
            Self::Partsupp => PartSuppArrow::schema_ref(),
            Self::Customer => CustomerArrow::schema_ref(),
            Self::Orders => OrderArrow::schema_ref(),
            Self::Lineitem => LineItemArrow::schema_ref(),
        }
    }

    /// Rows of the table: exact, but for lineitem the average of four lines an order.
    pub(super) fn rows_about(self, scale: f64) -> u64 {
        let (units, rows_per_unit) = self.units(scale);
        units * rows_per_unit
    }

    /// What the generator counts and cuts by (a part with its four suppliers, an order with its one to seven lines),
    /// and the rows of each, on average.
    fn units(self, scale: f64) -> (u64, u64) {
        let (units, rows_per_unit) = match self {
            Self::Nation => (25, 1),
            Self::Region => (5, 1),
            Self::Part => (PartGenerator::calculate_row_count(scale, 1, 1), 1),
            Self::Supplier => (SupplierGenerator::calculate_row_count(scale, 1, 1), 1),
            Self::Partsupp => (PartSuppGenerator::calculate_row_count(scale, 1, 1), 4),
            Self::Customer => (CustomerGenerator::calculate_row_count(scale, 1, 1), 1),
            Self::Orders => (OrderGenerator::calculate_row_count(scale, 1, 1), 1),
            Self::Lineitem => (OrderGenerator::calculate_row_count(scale, 1, 1), 4),
        };
        (units.unsigned_abs(), rows_per_unit)
    }

    /// How many parts the table is generated in; depends on the scale only, and is 1 for the tables of fixed size,
    /// which cannot be cut.
    ///
    /// The generator gives the units that the division leaves over to the last part. So the number is lowered until
    /// they are no more than a part: at most to the square root of the units, mostly by little, the units being round
    /// numbers.
    pub(super) fn part_count(self, scale: f64) -> i32 {
        let (units, _) = self.units(scale);
        let count_max = self.rows_about(scale).div_ceil(ROWS_PER_PART).max(1);
        let count = (1..=count_max).rev().find(|count| units % count <= units / count).unwrap_or(1);
        // Below 2²⁴ at the largest scale.
        i32::try_from(count).unwrap_or(1)
    }

    /// Generates part `part` of `1..=part_count`: the batches of its rows, in order.
    pub(super) fn generate(self, scale: f64, part: i32, part_count: i32) -> Result<Vec<RecordBatch>, ArrowError> {
        macro_rules! batches {
            ($arrow:ident, $generator:ident) => {
                $arrow::new($generator::new(scale, part, part_count)).with_batch_size(ROWS_PER_BATCH).collect()
            };
        }
        match self {
            Self::Nation => batches!(NationArrow, NationGenerator),
            Self::Region => batches!(RegionArrow, RegionGenerator),
            Self::Part => batches!(PartArrow, PartGenerator),
            Self::Supplier => batches!(SupplierArrow, SupplierGenerator),
            Self::Partsupp => batches!(PartSuppArrow, PartSuppGenerator),
            Self::Customer => batches!(CustomerArrow, CustomerGenerator),
            Self::Orders => batches!(OrderArrow, OrderGenerator),
            Self::Lineitem => batches!(LineItemArrow, LineItemGenerator),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_small_at_every_scale() {
        for scale in [SCALE_MIN, 0.001, 0.01, 0.1, 0.123_456, 1.0, 7.77, 10.0, 100.0, 1_000.0, 30_000.0, SCALE_MAX] {
            for table in Table::ALL {
                let count = table.part_count(scale);
                let units = OrderGenerator::calculate_row_count(scale, 1, 1) as u64;
                assert!(count >= 1, "{table} at {scale}");
                if table == Table::Lineitem {
                    let last = OrderGenerator::calculate_row_count(scale, count, count) as u64;
                    assert!(last <= 2 * (units / count as u64), "{scale}: {count} parts, the last of {last} orders");
                    // Near the size asked for.
                    assert!(last * 4 <= 4 * ROWS_PER_PART, "{scale}: {count} parts, the last of {last} orders");
                }
            }
        }
    }

    #[test]
    fn every_table_has_rows_at_the_smallest_scale() {
        for table in Table::ALL {
            let batches = table.generate(SCALE_MIN, 1, 1).unwrap();
            assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "{table}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for table in Table::ALL {
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
        assert_eq!(Table::from_name("LINEITEM"), None);
    }
}
