//! Window functions, their frames and the operator's spec.
//!
//! In: specs. Out: bytes, and specs again. Never: a kind that this build does not know.

use super::{EncodeError, reader::Reader, tagged, writer::Writer};
use crate::{
    error::Result,
    expression::{Bound, Frame, FrameUnits, RankBound, WindowCall, WindowFunction},
    operator::window::WindowSpec,
};

tagged!(FrameUnits, "unit of a frame", { Rows = 0, Groups = 1, Range = 2 });

const ROW_NUMBER: u8 = 0;
const RANK: u8 = 1;
const DENSE_RANK: u8 = 2;
const PERCENT_RANK: u8 = 3;
const CUME_DIST: u8 = 4;
const NTILE: u8 = 5;
const SHIFTED: u8 = 6;
const NTH: u8 = 7;
const OF_FRAME: u8 = 8;

const UNBOUNDED: u8 = 0;
const CURRENT: u8 = 1;
const OFFSET: u8 = 2;
const VALUE: u8 = 3;

impl Writer {
    pub(super) fn window(&mut self, spec: &WindowSpec) -> Result<()> {
        let WindowSpec { partition, order, calls, bound, input, output } = spec;
        self.expressions("keys", partition)?;
        self.list("sort keys", order, Writer::sort_key)?;
        self.list("window functions", calls, Writer::window_call)?;
        self.option(bound.as_ref(), |writer, bound| {
            writer.number("bound of ranks", bound.call)?;
            writer.u64(bound.most);
            Ok(())
        })?;
        self.schema(input)?;
        self.schema(output)
    }

    fn window_call(&mut self, call: &WindowCall) -> Result<()> {
        let WindowCall { function, frame, returns } = call;
        match function {
            WindowFunction::RowNumber => self.u8(ROW_NUMBER),
            WindowFunction::Rank => self.u8(RANK),
            WindowFunction::DenseRank => self.u8(DENSE_RANK),
            WindowFunction::PercentRank => self.u8(PERCENT_RANK),
            WindowFunction::CumeDist => self.u8(CUME_DIST),
            WindowFunction::Ntile(buckets) => {
                self.u8(NTILE);
                self.u64(*buckets);
            }
            WindowFunction::Shifted { value, offset, default, ignores_nulls } => {
                self.u8(SHIFTED);
                self.expression(value)?;
                self.u64(*offset as u64);
                self.option(default.as_ref(), Writer::expression)?;
                self.flag(*ignores_nulls);
            }
            WindowFunction::Nth { value, number, ignores_nulls } => {
                self.u8(NTH);
                self.expression(value)?;
                self.u64(*number as u64);
                self.flag(*ignores_nulls);
            }
            WindowFunction::Aggregate(call) => {
                self.u8(OF_FRAME);
                self.aggregate_call(call)?;
            }
        }
        self.tag(&frame.units);
        self.bound(&frame.start)?;
        self.bound(&frame.end)?;
        self.data_type(returns)
    }

    fn bound(&mut self, bound: &Bound) -> Result<()> {
        match bound {
            Bound::Unbounded => self.u8(UNBOUNDED),
            Bound::Current => self.u8(CURRENT),
            Bound::Offset(offset) => {
                self.u8(OFFSET);
                self.u64(*offset as u64);
            }
            Bound::Value(value) => {
                self.u8(VALUE);
                self.expression(value)?;
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    pub(super) fn window(&mut self) -> Result<WindowSpec> {
        let partition = self.expressions("keys")?;
        let order = self.list("sort keys", |reader| reader.sort_key())?;
        let calls = self.list("window functions", |reader| reader.window_call())?;
        let bound = self.option("bound of ranks", |reader| {
            let (call, most) = (reader.number("bound of ranks")?, reader.u64("bound of ranks")?);
            if call >= calls.len() {
                return Err(EncodeError::Malformed { what: "bound of ranks" }.into());
            }
            Ok(RankBound { call, most })
        })?;
        Ok(WindowSpec { partition, order, calls, bound, input: self.schema()?, output: self.schema()? })
    }

    fn window_call(&mut self) -> Result<WindowCall> {
        let function = match self.u8("window function")? {
            ROW_NUMBER => WindowFunction::RowNumber,
            RANK => WindowFunction::Rank,
            DENSE_RANK => WindowFunction::DenseRank,
            PERCENT_RANK => WindowFunction::PercentRank,
            CUME_DIST => WindowFunction::CumeDist,
            NTILE => WindowFunction::Ntile(self.u64("buckets")?),
            SHIFTED => WindowFunction::Shifted {
                value: self.expression()?,
                offset: self.u64("offset")? as i64,
                default: self.option("default", |reader| reader.expression())?,
                ignores_nulls: self.flag("IGNORE NULLS")?,
            },
            NTH => WindowFunction::Nth {
                value: self.expression()?,
                number: self.u64("number of a row")? as i64,
                ignores_nulls: self.flag("IGNORE NULLS")?,
            },
            OF_FRAME => WindowFunction::Aggregate(self.aggregate_call()?),
            found => return Err(EncodeError::UnknownTag { what: "window function", found }.into()),
        };
        let frame = Frame { units: self.tag()?, start: self.bound()?, end: self.bound()? };
        Ok(WindowCall { function, frame, returns: self.data_type()? })
    }

    fn bound(&mut self) -> Result<Bound> {
        Ok(match self.u8("bound of a frame")? {
            UNBOUNDED => Bound::Unbounded,
            CURRENT => Bound::Current,
            OFFSET => Bound::Offset(self.u64("offset")? as i64),
            VALUE => Bound::Value(self.expression()?),
            found => return Err(EncodeError::UnknownTag { what: "bound of a frame", found }.into()),
        })
    }
}
