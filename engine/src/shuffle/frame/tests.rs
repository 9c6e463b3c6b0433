//! Frames: round trips over random batches, every flipped bit, every truncation, every limit.

use crate::batch::array::{DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, StringViewArray};
use crate::batch::datatypes::{Field, Fields as ArrowFields, Int32Type, Schema};
use proptest::prelude::*;

use super::{encode::seal, *};
use crate::kernel::testing::{Random, cases, random_batch};
use crate::shuffle::Digest;

const HEADER: FrameHeader = FrameHeader {
    job: JobId(0x0102_0304_0506_0708),
    epoch: Epoch(2),
    stage: StageId(3),
    round: Round(4),
    task: TaskId(5),
    attempt: AttemptId(6),
    group: GroupId(255),
    sequence: Sequence(8),
    hash_sum: 0x1112_1314_1516_1718,
};

/// Where in the head the numbers begin that the decoder goes by.
const COLUMN_COUNT_AT: usize = 38;

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

fn encode(batch: &RecordBatch) -> Vec<u8> {
    encode_with(batch, Codec::None)
}

fn encode_with(batch: &RecordBatch, codec: Codec) -> Vec<u8> {
    let mut out = Vec::new();
    let frame_bytes = encode_frame_with(&HEADER, batch, codec, &mut out).unwrap();
    assert_eq!(out.len(), frame_bytes);
    out
}

fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&CODECS)
}

/// A column that becomes shorter, one that does not, and one that is too short to try.
fn compressible_batch() -> RecordBatch {
    let mut random = Random::new(7);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("small", Arc::new(Int64Array::from_iter_values((0..1000).map(|row| row % 100)))),
        ("random", Arc::new(UInt64Array::from_iter_values((0..1000).map(|_| random.next())))),
        ("text", Arc::new(StringArray::from_iter_values((0..1000).map(|row| format!("customer number {row}"))))),
        ("null", Arc::new(crate::batch::array::NullArray::new(1000))),
        ("bits", Arc::new(crate::batch::array::BooleanArray::from(vec![true; 1000]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn decode(bytes: Vec<u8>, schema: &SchemaRef) -> Result<(FrameHeader, RecordBatch), FrameError> {
    decode_frame(Buffer::from_vec(bytes), schema, &FrameLimits::default())
}

/// Numbers, texts of both layouts, nulls, a dictionary and a list.
fn small_batch() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("text", Arc::new(StringArray::from(vec!["one", "", "three"]))),
        ("view", Arc::new(StringViewArray::from(vec!["short", "longer than twelve bytes", "π"]))),
        ("dictionary", Arc::new(vec!["a", "b", "a"].into_iter().collect::<DictionaryArray<Int32Type>>())),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
                Some(vec![Some(1)]),
                None,
                Some(vec![None, Some(2)]),
            ])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

proptest! {
    #![proptest_config(cases(512))]

    /// Batches of any types come back as they were; several frames in one buffer too.
    #[test]
    fn what_was_written_is_read(seed: u64, codec in any_codec()) {
        let mut random = Random::new(seed);
        let batch = random_batch(&mut random);
        let mut out = encode(&small_batch());
        let start = out.len();
        let frame_bytes = encode_frame_with(&HEADER, &batch, codec, &mut out).unwrap();
        prop_assert_eq!(super::frame_bytes(&out[start..], &FrameLimits::default()).unwrap(), frame_bytes);
        let head = decode_header(&out[start..], &FrameLimits::default()).unwrap();
        prop_assert_eq!((head.header, head.rows, head.codec), (HEADER, batch.num_rows(), codec));

        let frame = Buffer::from_vec(out).slice(start);
        let (header, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
        prop_assert_eq!(header, HEADER);
        prop_assert_eq!(Digest::of(&read).unwrap(), Digest::of(&batch).unwrap());
        prop_assert_eq!(read, batch);
    }

    /// Wherever a frame stands, also where nothing is aligned.
    #[test]
    fn a_frame_may_stand_anywhere(seed: u64, shift in 0usize..70, codec in any_codec()) {
        let batch = random_batch(&mut Random::new(seed));
        let mut out = vec![0; shift];
        encode_frame_with(&HEADER, &batch, codec, &mut out).unwrap();
        let frame = Buffer::from_vec(out).slice(shift);
        let (_, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
        prop_assert_eq!(read, batch);
    }

    #[test]
    fn a_flipped_bit_is_found(seed: u64, place: prop::sample::Index, bit in 0u8..8, codec in any_codec()) {
        let batch = random_batch(&mut Random::new(seed));
        let mut bytes = encode_with(&batch, codec);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(decode(bytes, &batch.schema()).is_err());
    }

    #[test]
    fn a_cut_or_longer_frame_is_refused(seed: u64, place: prop::sample::Index, codec in any_codec()) {
        let batch = random_batch(&mut Random::new(seed));
        let mut bytes = encode_with(&batch, codec);
        let error = decode(bytes[..place.index(bytes.len())].to_vec(), &batch.schema()).unwrap_err();
        let is_refused = matches!(error, FrameError::Length { .. });
        prop_assert!(is_refused, "{}", error);
        bytes.push(0);
        let is_refused = matches!(decode(bytes, &batch.schema()), Err(FrameError::Length { .. }));
        prop_assert!(is_refused);
    }

    /// Somebody changes a frame and makes its checksums right again: an error or a valid batch, never a panic.
    #[test]
    fn hostile_bytes_make_no_broken_batch(seed: u64, codec in any_codec()) {
        let mut random = Random::new(seed);
        let batch = if random.chance(25) { compressible_batch() } else { random_batch(&mut random) };
        let mut bytes = encode_with(&batch, codec);
        let head_bytes = decode_header(&bytes, &FrameLimits::default()).unwrap().head_bytes;
        for _ in 0..1 + random.below(4) {
            // In the head behind the identity, half of the time.
            let end = if random.chance(50) { head_bytes } else { bytes.len() };
            let place = COLUMN_COUNT_AT + random.below(end - COLUMN_COUNT_AT);
            bytes[place] = random.next() as u8;
        }
        seal(&mut bytes, head_bytes);
        if let Ok((_, read)) = decode(bytes, &batch.schema()) {
            for column in read.columns() {
                column.to_data().validate_full().unwrap();
            }
            Digest::of(&read).unwrap();
        }
    }

    /// Bytes that are no frame at all, and those that begin like one.
    #[test]
    fn noise_is_refused(mut noise: Vec<u8>, begins_well: bool, codec in any_codec()) {
        if begins_well && noise.len() >= 8 {
            noise[..4].copy_from_slice(&MAGIC);
            noise[4..8].copy_from_slice(&[2, 0, codec.flags() as u8, 0]);
        }
        prop_assert!(decode(noise, &small_batch().schema()).is_err());
    }
}

#[test]
fn every_single_bit_matters() {
    let batch = small_batch();
    for codec in CODECS {
        let bytes = encode_with(&batch, codec);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                assert!(decode(flipped, &batch.schema()).is_err(), "{codec}: bit {bit} of byte {place}");
            }
        }
    }
}

#[test]
fn a_codec_shortens_what_it_can_and_leaves_the_rest() {
    let batch = compressible_batch();
    let raw = encode(&batch);
    for codec in [Codec::Lz4, Codec::Zstd] {
        let bytes = encode_with(&batch, codec);
        assert_eq!(bytes.len() % ALIGNMENT_BYTES, 0);
        // The random numbers stay as they are.
        assert!((8000..3 * raw.len() / 5).contains(&bytes.len()), "{codec}: {} of {}", bytes.len(), raw.len());
        assert_eq!(bytes[6..8], codec.flags().to_le_bytes());
        let head = decode_header(&bytes, &FrameLimits::default()).unwrap();
        // small, random, offsets and bytes of the text, bits.
        let table = FIXED_BYTES + ARRAY_ENTRY_BYTES * head.array_count;
        let entries = bytes[table..][..8 * head.buffer_count].as_chunks::<8>().0.iter();
        let is_shorter: Vec<bool> = entries
            .map(|entry| {
                let (here, whole) = (u32::from_le_bytes(entry[..4].try_into().unwrap()), &entry[4..]);
                here < u32::from_le_bytes(whole.try_into().unwrap())
            })
            .collect();
        // LZ4 finds nothing in offsets that rise by much the same.
        assert_eq!(is_shorter, [true, false, codec == Codec::Zstd, true, true], "{codec}");
        let frame = Buffer::from_vec(bytes);
        let within = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
        let (_, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
        assert_eq!(read, batch);
        let is_view = |column: usize| within.contains(&(read.column(column).to_data().buffers()[0].as_ptr() as usize));
        assert_eq!([is_view(0), is_view(1)], [false, true], "what stayed as it was is viewed in place");
    }
    assert_eq!(encode_with(&batch, Codec::None), raw);
}

#[test]
fn another_version_or_codec_is_refused_by_name() {
    let bytes = encode(&small_batch());
    for (at, value) in [(4, 1), (4, 3), (5, 1), (6, 3), (7, 1)] {
        let mut other = bytes.clone();
        other[at] = value;
        let head_bytes = decode_header(&bytes, &FrameLimits::default()).unwrap().head_bytes;
        seal(&mut other, head_bytes);
        let error = decode(other, &small_batch().schema()).unwrap_err();
        assert!(matches!(error, FrameError::Version { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}

/// Somebody says that a few bytes become gigabytes: refused before memory is asked for.
#[test]
fn a_buffer_that_would_grow_too_long_is_refused() {
    let batch = compressible_batch();
    for codec in [Codec::Lz4, Codec::Zstd] {
        let bytes = encode_with(&batch, codec);
        let head = decode_header(&bytes, &FrameLimits::default()).unwrap();
        let entry = FIXED_BYTES + ARRAY_ENTRY_BYTES * head.array_count;
        let with = |whole: u32| {
            let mut bytes = bytes.clone();
            bytes[entry + 4..][..4].copy_from_slice(&whole.to_le_bytes());
            seal(&mut bytes, head.head_bytes);
            decode(bytes, &batch.schema()).unwrap_err()
        };
        for whole in [u32::MAX, FRAME_BYTES_MAX as u32] {
            let error = with(whole);
            assert!(matches!(error, FrameError::TooLarge { what: "bytes when decompressed", .. }), "{codec}: {error}");
            assert_eq!(error.kind(), Kind::Limit);
        }
        let here = u32::from_le_bytes(bytes[entry..][..4].try_into().unwrap());
        assert!(matches!(with(here - 1), FrameError::Shape { what: "length of a buffer", .. }), "{codec}");
        // As many as here: they stand as they are, and are too few. More or less than there are: the codec says so.
        assert!(matches!(with(here), FrameError::Shape { what: "length of a buffer", expected: 8000, .. }), "{codec}");
        for whole in [7999, 8001] {
            let error = with(whole);
            assert!(matches!(error, FrameError::Decompress { column: 0, .. }), "{codec}: {error}");
            assert_eq!(error.kind(), Kind::Corrupt);
        }
        let limits = FrameLimits { frame_bytes_max: bytes.len(), ..FrameLimits::default() };
        let error = decode_frame(Buffer::from_vec(bytes.clone()), &batch.schema(), &limits).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { what: "bytes when decompressed", .. }), "{codec}: {error}");
    }
}

#[test]
fn the_bytes_are_fixed() {
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![7, -1])) as ArrayRef)]).unwrap();
    let bytes = encode(&batch);
    let mut expected = Vec::new();
    expected.extend_from_slice(b"WNDF\x02\0\0\0");
    expected.extend_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
    expected.extend_from_slice(&[2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 255, 0, 1, 0]);
    expected.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 128, 0, 0, 0]);
    expected.extend_from_slice(&[64, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[..72], &expected);
    assert_eq!(&bytes[80..88], &[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
    assert_eq!(&bytes[88..100], &[2, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0]);
    assert_eq!(&bytes[128..136], &[7, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(bytes.len(), 192);
    assert_eq!(u64::from_le_bytes(*bytes[72..].first_chunk().unwrap()), XxHash3_64::oneshot(&bytes[128..]));
    assert_eq!(u64::from_le_bytes(*bytes[120..].first_chunk().unwrap()), XxHash3_64::oneshot(&bytes[..120]));
}

#[test]
fn columns_are_views_of_the_frame() {
    let batch = small_batch();
    let frame = Buffer::from_vec(encode(&batch));
    let within = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
    let (_, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
    for column in read.columns() {
        for buffer in column.to_data().buffers() {
            assert!(within.contains(&(buffer.as_ptr() as usize)) || buffer.is_empty());
        }
    }
}

#[test]
fn another_schema_is_refused() {
    let bytes = encode(&small_batch());
    let fields = small_batch().schema().fields().clone();
    let with = |column: usize, data_type: DataType, is_nullable: bool| {
        let mut fields: Vec<_> = fields.iter().cloned().collect();
        fields[column] = Arc::new(Field::new("other", data_type, is_nullable));
        decode(bytes.clone(), &Arc::new(Schema::new(fields))).unwrap_err()
    };
    assert!(matches!(with(0, DataType::Int32, true), FrameError::Shape { .. }));
    assert!(matches!(with(0, DataType::Boolean, true), FrameError::Schema { column: 0, layout: 2, .. }));
    assert!(matches!(with(1, DataType::Utf8View, true), FrameError::Schema { column: 1, layout: 3, .. }));
    assert!(matches!(with(0, DataType::Int64, false), FrameError::Batch { .. }));
    let fewer = Arc::new(Schema::new(ArrowFields::from(fields[..4].to_vec())));
    assert!(matches!(decode(bytes.clone(), &fewer), Err(FrameError::Shape { what: "column count", .. })));
}

#[test]
fn the_limits_hold() {
    let batch = small_batch();
    let bytes = encode(&batch);
    let all = FrameLimits::default();
    for limits in [
        FrameLimits { frame_bytes_max: bytes.len() - 1, ..all },
        FrameLimits { columns_max: 4, ..all },
        FrameLimits { buffers_max: 5, ..all },
        FrameLimits { rows_max: 2, ..all },
    ] {
        let error = decode_frame(Buffer::from_slice_ref(&bytes), &batch.schema(), &limits).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Limit);
    }
    // A length without limit is refused before anything is read by it.
    let mut huge = bytes.clone();
    huge[64..72].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(frame_bytes(&huge, &all), Err(FrameError::TooLarge { what: "bytes", .. })));
}

#[test]
fn too_much_is_refused_when_written() {
    let mut out = vec![1, 2, 3];
    let fields: Vec<_> =
        (0..COLUMNS_MAX + 1).map(|index| Field::new(index.to_string(), DataType::Null, true)).collect();
    let wide = RecordBatch::new_empty(Arc::new(Schema::new(fields)));
    assert!(matches!(encode_frame(&HEADER, &wide, &mut out), Err(FrameError::TooLarge { what: "columns", .. })));

    let big: ArrayRef = Arc::new(Int64Array::from(vec![0; FRAME_BYTES_MAX / 8]));
    let big = RecordBatch::try_from_iter([("big", big)]).unwrap();
    assert!(matches!(encode_frame(&HEADER, &big, &mut out), Err(FrameError::TooLarge { what: "bytes", .. })));

    // A million views of the same bytes: what they stand for is never made.
    let text = "x".repeat(1 << 16);
    let shared = take(&StringViewArray::from(vec![text]), &UInt64Array::from(vec![0; 1 << 20]), None).unwrap();
    let shared = RecordBatch::try_from_iter([("shared", shared)]).unwrap();
    assert!(matches!(encode_frame(&HEADER, &shared, &mut out), Err(FrameError::TooLarge { what: "bytes", .. })));

    let mut deep = DataType::Int32;
    for _ in 0..=DEPTH_MAX {
        deep = DataType::List(Arc::new(Field::new("item", deep, true)));
    }
    let deep = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("deep", deep, true)])));
    let error = encode_frame(&HEADER, &deep, &mut out).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { what: "levels of nesting", .. }));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_great_dictionary_leaves_its_unused_values_behind() {
    let values: Vec<String> = (0..10_000).map(|value| format!("value number {value}")).collect();
    let keys = Int32Array::from(vec![Some(9_999), None, Some(3), Some(9_999)]);
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(values))));
    let batch = RecordBatch::try_from_iter([("dictionary", dictionary)]).unwrap();
    let bytes = encode(&batch);
    assert!(bytes.len() < 1024);
    let (_, read) = decode(bytes, &batch.schema()).unwrap();
    assert_eq!(read.column(0).as_any_dictionary().values().len(), 2);
    assert_eq!(Digest::of(&read).unwrap(), Digest::of(&batch).unwrap());
}

#[test]
fn a_type_that_is_not_carried_is_told() {
    let runs = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Int32, true)),
    );
    let batch = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("runs", runs, true)])));
    let error = encode_frame(&HEADER, &batch, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, FrameError::Unsupported { column: 0, .. }));
    assert_eq!(error.kind(), Kind::Unsupported);
}

#[test]
fn a_frame_does_not_tell_how_its_views_lay() {
    let long = "longer than twelve bytes";
    let texts =
        [Some("first of the long ones"), Some("short"), None, Some(""), Some(long), Some("the last of the long ones")];
    let in_order = StringViewArray::from_iter(texts);
    let frame_of =
        |views: StringViewArray| encode(&RecordBatch::try_from_iter([("view", Arc::new(views) as ArrayRef)]).unwrap());
    let expected = frame_of(in_order.clone());
    let bytes = in_order.data_buffers()[0].clone();
    let with = |change: &dyn Fn(&mut Vec<u128>), buffers: Vec<Buffer>| {
        let mut views = in_order.views().to_vec();
        change(&mut views);
        StringViewArray::try_new(views.into(), buffers, in_order.nulls().cloned()).unwrap()
    };
    let moved_by = |bytes: u128| {
        move |views: &mut Vec<u128>| {
            for row in [0, 4, 5] {
                views[row] += bytes << 96
            }
        }
    };
    let behind = [b"gap", &bytes[..]].concat();
    let trailing = [&bytes[..], b"other rows' bytes"].concat();
    let ways = [
        ("the bytes of other rows behind", with(&|_| {}, vec![trailing.into()])),
        ("a gap before", with(&moved_by(3), vec![behind.into()])),
        (
            "another buffer before",
            with(
                &|views| {
                    for row in [0, 4, 5] {
                        views[row] += 1 << 64
                    }
                },
                vec![vec![1_u8; 40].into(), bytes.clone()],
            ),
        ),
        ("a short one under a NULL", with(&|views| views[2] = views[1], vec![bytes.clone()])),
        ("a long one under a NULL", with(&|views| views[2] = views[0], vec![bytes.clone()])),
        ("nothing is special", with(&|_| {}, vec![bytes.clone()])),
    ];
    for (way, views) in ways {
        assert!(frame_of(views) == expected, "{way}");
    }
    // As many bytes as there are, in another order; and a part of the rows.
    let back: Vec<_> = texts.iter().rev().copied().collect();
    let rows: UInt64Array = (0..6).rev().collect();
    let turned = take(&in_order, &rows, None).unwrap();
    assert!(frame_of(turned.as_string_view().clone()) == frame_of(StringViewArray::from_iter(back)));
    assert!(frame_of(in_order.slice(1, 4)) == frame_of(StringViewArray::from_iter(&texts[1..5])));
}
