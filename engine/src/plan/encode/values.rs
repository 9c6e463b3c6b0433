//! Rows and single values that stand in a plan.
//!
//! In: batches and literals. Out: frames for rows and for values that are nested, the plain bytes for the others; the same again, of the same
//! type. Never: a frame that its own batch would not give.

use std::sync::Arc;

use super::{EncodeError, ITEMS_MAX, reader::Reader, within, writer::Writer};
use crate::{
    batch::{
        Batch,
        array::{
            Array, ArrayData, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, LargeBinaryArray,
            LargeStringArray, NullArray, StringArray, StringViewArray, make_array,
        },
        buffer::Buffer,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    expression::Literal,
    shuffle::{FrameError, FrameHeader, FrameLimits, decode_frame, encode_frame, frame},
};

/// How a value of a type is written.
enum Form {
    /// Nothing follows.
    Null,
    /// A flag.
    Boolean,
    /// Its bytes as arrow has them.
    Fixed { width_bytes: usize },
    /// A length and bytes.
    Long,
    /// A frame of one row.
    Frame,
}

impl Form {
    fn of(data_type: &DataType) -> Form {
        match data_type {
            DataType::Null => Form::Null,
            DataType::Boolean => Form::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Form::Long,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Form::Long,
            DataType::FixedSizeBinary(width) => {
                Form::Fixed { width_bytes: usize::try_from(*width).unwrap_or_default() }
            }
            other => other.primitive_width().map_or(Form::Frame, |width_bytes| Form::Fixed { width_bytes }),
        }
    }
}

impl Writer {
    pub(super) fn literal(&mut self, literal: &Literal) -> Result<()> {
        let array = literal.to_scalar_array()?;
        let data_type = array.data_type();
        self.data_type(data_type)?;
        let form = Form::of(data_type);
        match form {
            Form::Null => return Ok(()),
            Form::Frame => {
                let schema = one_column(data_type);
                let frame = frame_of(&Batch::try_new(schema, vec![array])?)?;
                return self.long("frame of a value", &frame);
            }
            _ => self.flag(array.is_valid(0)),
        }
        if array.is_null(0) {
            return Ok(());
        }
        match form {
            Form::Boolean => self.flag(array.as_boolean().value(0)),
            Form::Fixed { width_bytes } => {
                let data = array.to_data();
                let values = data.buffers().first().map_or(&[][..], |buffer| buffer.as_slice());
                let value = values.get(data.offset() * width_bytes..).and_then(|bytes| bytes.get(..width_bytes));
                self.raw(value.ok_or(EncodeError::UnknownType { data_type: data_type.clone() })?)?;
            }
            _ => self.long_value(&array)?,
        }
        Ok(())
    }

    /// The text or the bytes of a column of one row.
    fn long_value(&mut self, array: &ArrayRef) -> Result<()> {
        match array.data_type() {
            DataType::Utf8 => self.text("text", array.as_string::<i32>().value(0)),
            DataType::LargeUtf8 => self.text("text", array.as_string::<i64>().value(0)),
            DataType::Utf8View => self.text("text", array.as_string_view().value(0)),
            DataType::Binary => self.long("bytes", array.as_binary::<i32>().value(0)),
            DataType::LargeBinary => self.long("bytes", array.as_binary::<i64>().value(0)),
            DataType::BinaryView => self.long("bytes", array.as_binary_view().value(0)),
            other => Err(EncodeError::UnknownType { data_type: other.clone() }.into()),
        }
    }

    /// Each with its own schema where that is not `schema`. A batch that is too large for one frame becomes two.
    pub(super) fn batches(&mut self, schema: &Schema, batches: &[Batch]) -> Result<()> {
        let count_at = self.bytes.len();
        self.number("batches", 0)?;
        let mut count = 0;
        for batch in batches {
            let mut waiting = vec![batch.clone()];
            while let Some(batch) = waiting.pop() {
                let frame = match frame_of(&batch) {
                    Err(FrameError::TooLarge { what: "bytes" | "rows" | "rows of an array", .. })
                        if batch.num_rows() > 1 =>
                    {
                        let half = batch.num_rows() / 2;
                        waiting.extend([batch.slice(half, batch.num_rows() - half), batch.slice(0, half)]);
                        continue;
                    }
                    frame => frame?,
                };
                let own = batch.schema();
                self.option(Some(own).filter(|own| **own != *schema), |writer, own| writer.schema(&own))?;
                self.long("rows", &frame)?;
                count += 1;
            }
        }
        let count = within("batches", count, ITEMS_MAX)? as u32;
        self.bytes[count_at..][..4].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }
}

impl Reader<'_> {
    pub(super) fn literal(&mut self) -> Result<Literal> {
        let data_type = self.data_type()?;
        let form = Form::of(&data_type);
        match form {
            Form::Null => return Ok(Literal::from_array(&NullArray::new(1), 0)?),
            Form::Frame => {
                let frame = self.long("frame of a value")?;
                // Also what needs no bytes, as an element of a list of NULLs, is bounded by the bytes that came.
                let limits = FrameLimits { rows_max: frame.len(), ..FrameLimits::default() };
                let batch = batch_of(frame, &one_column(&data_type), &limits)?;
                if batch.num_rows() != 1 {
                    return Err(EncodeError::Malformed { what: "frame of a value" }.into());
                }
                return Ok(Literal::from_array(batch.column(0).as_ref(), 0)?);
            }
            _ if !self.flag("NULL or not")? => return Ok(Literal::null(&data_type)?),
            _ => {}
        }
        let array = match form {
            Form::Boolean => Arc::new(BooleanArray::from(vec![self.flag("boolean")?])) as ArrayRef,
            Form::Fixed { width_bytes } => {
                let value = Buffer::from(self.raw("value", width_bytes)?);
                let data = ArrayData::builder(data_type).len(1).add_buffer(value).align_buffers(true);
                make_array(data.build()?)
            }
            _ => self.long_value(&data_type)?,
        };
        Ok(Literal::from_array(array.as_ref(), 0)?)
    }

    /// A text or bytes as a column of one row.
    fn long_value(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match data_type {
            DataType::Utf8 => Arc::new(StringArray::from(vec![self.text("text")?])),
            DataType::LargeUtf8 => Arc::new(LargeStringArray::from(vec![self.text("text")?])),
            DataType::Utf8View => Arc::new(StringViewArray::from(vec![self.text("text")?])),
            DataType::Binary => Arc::new(BinaryArray::from(vec![self.long("bytes")?])),
            DataType::LargeBinary => Arc::new(LargeBinaryArray::from(vec![self.long("bytes")?])),
            DataType::BinaryView => Arc::new(BinaryViewArray::from(vec![self.long("bytes")?])),
            other => return Err(EncodeError::UnknownType { data_type: other.clone() }.into()),
        })
    }

    pub(super) fn batches(&mut self, schema: &SchemaRef) -> Result<Vec<Batch>> {
        self.list("batches", |reader| {
            let own = reader.option("schema of a batch", |reader| reader.schema())?;
            if own.as_ref() == Some(schema) {
                return Err(EncodeError::Malformed { what: "schema of a batch" }.into());
            }
            batch_of(reader.long("rows")?, own.as_ref().unwrap_or(schema), &FrameLimits::default())
        })
    }
}

/// The rows as a frame of no attempt.
fn frame_of(batch: &Batch) -> Result<Vec<u8>, FrameError> {
    let mut frame = Vec::new();
    encode_frame(&FrameHeader::default(), batch, &mut frame)?;
    Ok(frame)
}

/// The rows of a frame, if it is the one that they give: bytes that nobody looks at are as they must be, too.
fn batch_of(bytes: &[u8], schema: &SchemaRef, limits: &FrameLimits) -> Result<Batch> {
    let (_, batch) = decode_frame(Buffer::from(bytes), schema, limits)?;
    if frame_of(&batch)? != bytes {
        return Err(EncodeError::Malformed { what: "frame" }.into());
    }
    Ok(batch)
}

fn one_column(data_type: &DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("", data_type.clone(), true)]))
}

const _: () = assert!(frame::FRAME_BYTES_MAX <= super::TEXT_BYTES_MAX);
