//! Types, fields and schemas.
//!
//! In: arrow's. Out: bytes, and the same again, with the names and metadata of nested fields. Never: a type for which arrow could make no
//! array; metadata in an order of chance.

use std::sync::Arc;

use super::{EncodeError, TYPE_DEPTH_MAX, Tagged, reader::Reader, tagged, within, writer::Writer};
use crate::{
    batch::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode},
    error::Result,
};

tagged!(TimeUnit, "unit of time", { Second = 0, Millisecond = 1, Microsecond = 2, Nanosecond = 3 });
tagged!(IntervalUnit, "unit of an interval", { YearMonth = 0, DayTime = 1, MonthDayNano = 2 });
tagged!(UnionMode, "mode of a union", { Sparse = 0, Dense = 1 });

/// A type that is nothing but its name.
struct Plain(DataType);

macro_rules! plain_types {
    ($($variant:ident = $tag:literal),+) => {
        impl Plain {
            fn tag_of(data_type: &DataType) -> Option<u8> {
                match data_type {
                    $(DataType::$variant => Some($tag),)+
                    _ => None,
                }
            }
            fn of_tag(tag: u8) -> Option<Plain> {
                match tag {
                    $($tag => Some(Plain(DataType::$variant)),)+
                    _ => None,
                }
            }
        }
    };
}
plain_types! {
    Null = 0, Boolean = 1, Int8 = 2, Int16 = 3, Int32 = 4, Int64 = 5, UInt8 = 6, UInt16 = 7, UInt32 = 8, UInt64 = 9, Float16 = 10,
    Float32 = 11, Float64 = 12, Date32 = 13, Date64 = 14, Binary = 15, LargeBinary = 16, BinaryView = 17, Utf8 = 18, LargeUtf8 = 19,
    Utf8View = 20
}

const TIMESTAMP: u8 = 32;
const TIME32: u8 = 33;
const TIME64: u8 = 34;
const DURATION: u8 = 35;
const INTERVAL: u8 = 36;
const DECIMAL32: u8 = 37;
const DECIMAL64: u8 = 38;
const DECIMAL128: u8 = 39;
const DECIMAL256: u8 = 40;
const FIXED_SIZE_BINARY: u8 = 41;

const LIST: u8 = 64;
const LARGE_LIST: u8 = 65;
const LIST_VIEW: u8 = 66;
const LARGE_LIST_VIEW: u8 = 67;
const FIXED_SIZE_LIST: u8 = 68;
const STRUCT: u8 = 69;
const MAP: u8 = 70;
const DICTIONARY: u8 = 71;
const UNION: u8 = 72;
const RUN_END_ENCODED: u8 = 73;

/// Of a field's flags: it may be NULL.
const NULLABLE: u8 = 1;
/// Of a field's flags: the codes of its dictionary are in the order of its values.
const ORDERED: u8 = 2;

impl Writer {
    pub(super) fn schema(&mut self, schema: &Schema) -> Result<()> {
        self.metadata(schema.metadata().iter())?;
        self.list("columns", schema.fields(), |writer, field| writer.field(field, 0))
    }

    pub(super) fn data_type(&mut self, data_type: &DataType) -> Result<()> {
        self.type_at(data_type, 0)
    }

    fn field(&mut self, field: &Field, depth: usize) -> Result<()> {
        self.text("name of a column", field.name())?;
        let ordered = if field.dict_is_ordered() == Some(true) { ORDERED } else { 0 };
        self.u8((u8::from(field.is_nullable()) * NULLABLE) | ordered);
        self.metadata(field.metadata().iter())?;
        self.type_at(field.data_type(), depth)
    }

    /// In the order of the keys.
    fn metadata<'a>(&mut self, pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Result<()> {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        self.list("metadata", &pairs, |writer, (key, value)| {
            writer.text("metadata", key)?;
            writer.text("metadata", value)
        })
    }

    fn type_at(&mut self, data_type: &DataType, depth: usize) -> Result<()> {
        use DataType as T;
        within("levels of a type", depth, TYPE_DEPTH_MAX)?;
        check(data_type)?;
        if let Some(tag) = Plain::tag_of(data_type) {
            self.u8(tag);
            return Ok(());
        }
        match data_type {
            T::Timestamp(unit, zone) => {
                self.u8(TIMESTAMP);
                self.tag(unit);
                return self.option(zone.as_deref(), |writer, zone| writer.text("time zone", zone));
            }
            T::Time32(unit) => self.tagged_by(TIME32, unit),
            T::Time64(unit) => self.tagged_by(TIME64, unit),
            T::Duration(unit) => self.tagged_by(DURATION, unit),
            T::Interval(unit) => self.tagged_by(INTERVAL, unit),
            T::Decimal32(precision, scale) => self.bytes.extend([DECIMAL32, *precision, *scale as u8]),
            T::Decimal64(precision, scale) => self.bytes.extend([DECIMAL64, *precision, *scale as u8]),
            T::Decimal128(precision, scale) => self.bytes.extend([DECIMAL128, *precision, *scale as u8]),
            T::Decimal256(precision, scale) => self.bytes.extend([DECIMAL256, *precision, *scale as u8]),
            T::FixedSizeBinary(width) => {
                self.u8(FIXED_SIZE_BINARY);
                self.bytes.extend_from_slice(&width.to_le_bytes());
            }
            nested => return self.nested_type(nested, depth + 1),
        }
        Ok(())
    }

    fn tagged_by<T: Tagged>(&mut self, tag: u8, value: &T) {
        self.u8(tag);
        self.tag(value);
    }

    /// `depth`: of what is inside.
    fn nested_type(&mut self, data_type: &DataType, depth: usize) -> Result<()> {
        use DataType as T;
        let mut of = |tag: u8, field: &Field| {
            self.u8(tag);
            self.field(field, depth)
        };
        match data_type {
            T::List(field) => of(LIST, field),
            T::LargeList(field) => of(LARGE_LIST, field),
            T::ListView(field) => of(LIST_VIEW, field),
            T::LargeListView(field) => of(LARGE_LIST_VIEW, field),
            T::FixedSizeList(field, size) => {
                of(FIXED_SIZE_LIST, field)?;
                self.bytes.extend_from_slice(&size.to_le_bytes());
                Ok(())
            }
            T::Map(field, is_sorted) => {
                of(MAP, field)?;
                self.flag(*is_sorted);
                Ok(())
            }
            T::Struct(fields) => {
                self.u8(STRUCT);
                self.list("fields", fields, |writer, field| writer.field(field, depth))
            }
            T::Dictionary(codes, values) => {
                self.u8(DICTIONARY);
                self.type_at(codes, depth)?;
                self.type_at(values, depth)
            }
            T::Union(fields, mode) => {
                self.u8(UNION);
                self.tag(mode);
                let fields: Vec<_> = fields.iter().collect();
                self.list("fields", &fields, |writer, (id, field)| {
                    writer.u8(*id as u8);
                    writer.field(field, depth)
                })
            }
            T::RunEndEncoded(ends, values) => {
                of(RUN_END_ENCODED, ends)?;
                self.field(values, depth)
            }
            other => Err(EncodeError::UnknownType { data_type: other.clone() }.into()),
        }
    }
}

impl Reader<'_> {
    pub(super) fn schema(&mut self) -> Result<SchemaRef> {
        let metadata = self.metadata()?;
        let fields = self.list("columns", |reader| reader.field(0))?;
        Ok(Arc::new(Schema::new(fields).with_metadata(metadata.into_iter().collect())))
    }

    pub(super) fn data_type(&mut self) -> Result<DataType> {
        self.type_at(0)
    }

    fn field(&mut self, depth: usize) -> Result<FieldRef> {
        let name = self.text("name of a column")?;
        let flags = self.u8("flags of a column")?;
        let metadata = self.metadata()?;
        let field = Field::new(name, self.type_at(depth)?, flags & NULLABLE != 0);
        let field = field.with_metadata(metadata.into_iter().collect()).with_dict_is_ordered(flags & ORDERED != 0);
        let says_ordered = field.dict_is_ordered() == Some(true);
        if flags > (NULLABLE | ORDERED) || says_ordered != (flags & ORDERED != 0) {
            return Err(EncodeError::Malformed { what: "flags of a column" }.into());
        }
        Ok(Arc::new(field))
    }

    fn metadata(&mut self) -> Result<Vec<(String, String)>> {
        let pairs = self.list("metadata", |reader| {
            Ok((reader.text("metadata")?.to_owned(), reader.text("metadata")?.to_owned()))
        })?;
        let is_ordered = pairs.is_sorted_by(|a, b| a.0 < b.0);
        if is_ordered { Ok(pairs) } else { Err(EncodeError::Malformed { what: "order of metadata" }.into()) }
    }

    fn type_at(&mut self, depth: usize) -> Result<DataType> {
        use DataType as T;
        within("levels of a type", depth, TYPE_DEPTH_MAX)?;
        let tag = self.u8("type")?;
        if let Some(Plain(data_type)) = Plain::of_tag(tag) {
            return Ok(data_type);
        }
        let data_type = match tag {
            TIMESTAMP => {
                let unit = self.tag()?;
                T::Timestamp(unit, self.option("time zone", |reader| reader.text("time zone").map(Arc::from))?)
            }
            TIME32 => T::Time32(self.tag()?),
            TIME64 => T::Time64(self.tag()?),
            DURATION => T::Duration(self.tag()?),
            INTERVAL => T::Interval(self.tag()?),
            DECIMAL32 => T::Decimal32(self.u8("precision")?, self.u8("scale")? as i8),
            DECIMAL64 => T::Decimal64(self.u8("precision")?, self.u8("scale")? as i8),
            DECIMAL128 => T::Decimal128(self.u8("precision")?, self.u8("scale")? as i8),
            DECIMAL256 => T::Decimal256(self.u8("precision")?, self.u8("scale")? as i8),
            FIXED_SIZE_BINARY => T::FixedSizeBinary(self.u32("width")? as i32),
            nested => self.nested_type(nested, depth + 1)?,
        };
        check(&data_type)?;
        Ok(data_type)
    }

    /// `depth`: of what is inside.
    fn nested_type(&mut self, tag: u8, depth: usize) -> Result<DataType> {
        use DataType as T;
        Ok(match tag {
            LIST => T::List(self.field(depth)?),
            LARGE_LIST => T::LargeList(self.field(depth)?),
            LIST_VIEW => T::ListView(self.field(depth)?),
            LARGE_LIST_VIEW => T::LargeListView(self.field(depth)?),
            FIXED_SIZE_LIST => T::FixedSizeList(self.field(depth)?, self.u32("length of a list")? as i32),
            STRUCT => T::Struct(self.list("fields", |reader| reader.field(depth))?.into()),
            MAP => T::Map(self.field(depth)?, self.flag("order of a map")?),
            DICTIONARY => T::Dictionary(Box::new(self.type_at(depth)?), Box::new(self.type_at(depth)?)),
            UNION => {
                let mode = self.tag()?;
                let fields = self.list("fields", |reader| Ok((reader.u8("type id")? as i8, reader.field(depth)?)))?;
                let (ids, fields): (Vec<i8>, Vec<FieldRef>) = fields.into_iter().unzip();
                let fields = UnionFields::try_new(ids, fields);
                T::Union(fields.map_err(|_| EncodeError::Malformed { what: "type ids of a union" })?, mode)
            }
            RUN_END_ENCODED => T::RunEndEncoded(self.field(depth)?, self.field(depth)?),
            found => return Err(EncodeError::UnknownTag { what: "type", found }.into()),
        })
    }
}

/// Refuses types of which arrow could make no array: it would panic where one is asked for.
fn check(data_type: &DataType) -> Result<(), EncodeError> {
    use DataType as T;
    let decimal = |precision: u8, scale: i8, max: u8| {
        (1..=max).contains(&precision) && scale.unsigned_abs() <= max && scale <= precision as i8
    };
    let can_be = match data_type {
        T::Decimal32(precision, scale) => decimal(*precision, *scale, 9),
        T::Decimal64(precision, scale) => decimal(*precision, *scale, 18),
        T::Decimal128(precision, scale) => decimal(*precision, *scale, 38),
        T::Decimal256(precision, scale) => decimal(*precision, *scale, 76),
        T::Time32(unit) => matches!(unit, TimeUnit::Second | TimeUnit::Millisecond),
        T::Time64(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        T::FixedSizeBinary(size) | T::FixedSizeList(_, size) => *size >= 0,
        T::Dictionary(codes, _) => codes.is_dictionary_key_type(),
        T::Map(entries, _) => matches!(entries.data_type(), T::Struct(fields) if fields.len() == 2),
        T::RunEndEncoded(ends, _) => ends.data_type().is_run_ends_type(),
        _ => true,
    };
    if can_be { Ok(()) } else { Err(EncodeError::UnknownType { data_type: data_type.clone() }) }
}
