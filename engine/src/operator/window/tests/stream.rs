//! Partitions that memory does not hold get the columns that they would get at once.

use std::sync::Arc;

use super::{
    super::{Window, WindowSpec, calls::Calls},
    Far, O, P, batch_of, bound, functions, key, random_rows, spec_of_functions,
};
use crate::{
    expression::{Expression, Frame, FrameUnits, Parameters, WindowCall, WindowFunction},
    operator::testing::{Cell, Random, context_of, cut, drain, feed, rows_of},
};

/// What a window gives, in order of content, and how many bytes went to disk while its rows were given.
fn given(spec: &WindowSpec, memory_bytes: u64, rows: &[super::Row], random: &mut Random) -> (Vec<Vec<Cell>>, u64) {
    let context = context_of(1_000, memory_bytes);
    let window = Window::new(spec, &context, &Arc::new(Parameters::default())).unwrap();
    feed(&window.sink(), cut(&batch_of(rows), 1_000, random), 2, random).unwrap();
    let before = context.counters.report().spilled_bytes;
    let mut given = rows_of(&drain(&window.source(), 2, random).unwrap());
    let spilled = context.counters.report().spilled_bytes - before;
    assert!(context.governor.peak_bytes() <= memory_bytes);
    assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0), "all was given");
    given.sort();
    (given, spilled)
}

fn check(spec: &WindowSpec, rows: &[super::Row], random: &mut Random) {
    assert!(Calls::new(spec, &Arc::default()).unwrap().needs().is_some());
    let (at_once, none) = given(spec, 1 << 40, rows, random);
    let (in_pieces, spilled) = given(spec, 4 << 20, rows, random);
    assert_eq!((none, at_once.len()), (0, rows.len()));
    assert!(spilled > 0, "the partition goes to disk");
    assert!(at_once == in_pieces);
}

fn frames() -> Vec<Frame> {
    let frame = |units, start, end| Frame { units, start: bound(start, units, false), end: bound(end, units, false) };
    vec![
        frame(FrameUnits::Rows, Far::Unbounded, Far::Current),
        frame(FrameUnits::Rows, Far::Unbounded, Far::By(-1_500)),
        frame(FrameUnits::Rows, Far::Unbounded, Far::By(1_500)),
        frame(FrameUnits::Rows, Far::By(-1_200), Far::By(-30)),
        frame(FrameUnits::Rows, Far::By(3), Far::By(1_100)),
        frame(FrameUnits::Rows, Far::Unbounded, Far::Unbounded),
        frame(FrameUnits::Groups, Far::Unbounded, Far::Current),
        frame(FrameUnits::Range, Far::Unbounded, Far::Current),
    ]
}

#[test]
fn one_partition_of_any_frame_is_given_in_pieces() {
    let random = &mut Random(7);
    for (number, frame) in frames().iter().enumerate() {
        // Few and long groups of peers, or many short ones.
        let rows = random_rows(60_000, 1, [3, 40, 5_000][number % 3], random);
        check(&spec_of_functions(false, vec![key(O, number % 2 == 0, true)], frame, functions(true)), &rows, random);
    }
}

#[test]
fn rows_that_are_all_peers_are_given_in_pieces() {
    let random = &mut Random(8);
    let rows = random_rows(60_000, 1, 9, random);
    let range = frames().pop().unwrap();
    check(&spec_of_functions(false, Vec::new(), &range, functions(true)), &rows, random);
}

#[test]
fn short_and_long_partitions_follow_each_other() {
    let random = &mut Random(9);
    let mut rows = random_rows(60_000, 3_000, 50, random);
    // Two of them are long, and neighbours.
    rows.iter_mut().for_each(|row| {
        row[P] = row[P].map(|p| if p > 2_000 { 1_000 + p % 2 } else { p });
    });
    for frame in [&frames()[1], &frames()[7]] {
        check(&spec_of_functions(true, vec![key(O, false, false)], frame, functions(true)), &rows, random);
    }
}

#[test]
fn what_looks_too_far_is_not_given_in_pieces() {
    let needs = |function: WindowFunction, frame: &Frame| {
        let mut spec = spec_of_functions(false, vec![key(O, false, false)], frame, Vec::new());
        spec.calls.push(WindowCall { returns: super::returns(&function), function, frame: frame.clone() });
        Calls::new(&spec, &Arc::default()).unwrap().needs().is_some()
    };
    let nth = |number, ignores_nulls| WindowFunction::Nth { value: Expression::Column(O), number, ignores_nulls };
    let shifted = |offset, ignores_nulls| WindowFunction::Shifted {
        value: Expression::Column(O),
        offset,
        default: None,
        ignores_nulls,
    };
    let frames = frames();
    assert!(
        needs(nth(3, true), &frames[3]) && needs(nth(-1, false), &frames[5]) && needs(shifted(9, false), &frames[5])
    );
    assert!(
        !needs(nth(3, false), &frames[0]) && !needs(nth(1, true), &frames[0]) && !needs(shifted(9, true), &frames[5])
    );
    assert!(!needs(shifted(i64::MIN, false), &frames[5]) && !needs(shifted(1 << 30, false), &frames[5]));
    let to_the_end = Frame {
        units: FrameUnits::Rows,
        start: bound(Far::Current, FrameUnits::Rows, false),
        end: bound(Far::Unbounded, FrameUnits::Rows, false),
    };
    assert!(!needs(nth(1, false), &to_the_end));
}
