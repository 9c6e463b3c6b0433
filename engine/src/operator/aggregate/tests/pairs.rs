//! Correlation, covariance and regression against their definitions, with two passes over the pairs of a group.

use super::*;

/// All aggregates over pairs of columns 1 (y) and 2 (x), then those of one of the two.
const FUNCTIONS: [F; 11] = [
    F::Corr,
    F::CovarSample,
    F::CovarPopulation,
    F::RegrSlope,
    F::RegrIntercept,
    F::RegrR2,
    F::RegrAvgX,
    F::RegrAvgY,
    F::RegrSxx,
    F::RegrSyy,
    F::RegrSxy,
];

fn calls() -> Vec<AggregateCall> {
    let of_pairs = |function| AggregateCall {
        arguments: vec![Expression::Column(1), Expression::Column(2)],
        ..call(function, None, DataType::Float64)
    };
    let mut calls: Vec<_> = FUNCTIONS.into_iter().map(of_pairs).collect();
    calls.push(AggregateCall { returns: DataType::UInt64, ..of_pairs(F::Count) });
    calls.push(AggregateCall { is_distinct: true, ..of_pairs(F::RegrSxy) });
    calls.push(AggregateCall { filter: Some(Expression::Column(3)), ..of_pairs(F::RegrSxy) });
    calls
}

fn batch_of(rows: &[(i64, Option<f64>, Option<f64>, bool)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>()),
    ];
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    Batch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// What `FUNCTIONS` give for pairs without NULL, by their definitions.
fn defined(pairs: &[(f64, f64)]) -> [Option<f64>; 11] {
    let count = pairs.len() as f64;
    if pairs.is_empty() {
        return [None; 11];
    }
    let (y_mean, x_mean) =
        (pairs.iter().map(|pair| pair.0).sum::<f64>() / count, pairs.iter().map(|pair| pair.1).sum::<f64>() / count);
    let (mut syy, mut sxx, mut sxy) = (0.0, 0.0, 0.0);
    for (y, x) in pairs {
        syy += (y - y_mean) * (y - y_mean);
        sxx += (x - x_mean) * (x - x_mean);
        sxy += (y - y_mean) * (x - x_mean);
    }
    let is_flat = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        values.iter().all(|value| *value == values[0])
    };
    let x_varies = !is_flat(&mut pairs.iter().map(|pair| pair.1));
    let both_vary = x_varies && !is_flat(&mut pairs.iter().map(|pair| pair.0));
    let slope = x_varies.then(|| sxy / sxx);
    let correlation = both_vary.then(|| sxy / (sxx * syy).sqrt());
    [
        correlation,
        (count > 1.0).then(|| sxy / (count - 1.0)),
        Some(sxy / count),
        slope,
        slope.map(|slope| y_mean - slope * x_mean),
        correlation.map(|r| r * r),
        Some(x_mean),
        Some(y_mean),
        Some(sxx),
        Some(syy),
        Some(sxy),
    ]
}

fn is_near(found: &Val, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Val::Null, None) => true,
        (Val::Float(bits), Some(expected)) => {
            let found = f64::from_bits(*bits);
            (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= 1e-7 * expected.abs().max(1e-3)
        }
        _ => false,
    }
}

#[test]
fn are_what_the_definitions_say_and_the_same_bits_in_parts() {
    let random = &mut Random(11);
    for (rows, keys) in [(3, 3), (60, 20), (2_000, 40), (20_000, 5_000)] {
        let value = |random: &mut Random| random.chance(85).then(|| random.below(4_000) as f64 / 7.0 - 250.0);
        let rows: Vec<_> = (0..rows)
            .map(|_| {
                let key = random.below(keys) as i64;
                // Some groups have no spread in one of the two, some lie on a line.
                let (mut y, x) = (value(random), value(random));
                let x = if key % 10 == 3 { x.map(|_| 0.1) } else { x };
                match key % 10 {
                    4 => y = y.map(|_| -7.5),
                    5 => y = x.map(|x| 3.0 - 2.0 * x),
                    _ => {}
                }
                (key, y, x, random.chance(50))
            })
            .collect();
        let batch = batch_of(&rows);
        let spec = spec(&[0], calls(), &batch.schema());
        let whole = actual(&spec, &batch, 1, rows.len(), random);
        for (key, results) in &whole {
            let Val::Int(key) = key[0] else { panic!("{key:?}") };
            let of_key = || rows.iter().filter(|row| i128::from(row.0) == key);
            let pairs: Vec<(f64, f64)> = of_key().filter_map(|row| Some((row.1?, row.2?))).collect();
            for (number, expected) in defined(&pairs).into_iter().enumerate() {
                let (found, function) = (&results[number], FUNCTIONS[number]);
                assert!(is_near(found, expected), "{function:?} of {pairs:?}: {found:?}, not {expected:?}");
            }
            assert_eq!(results[11], Val::Int(pairs.len() as i128));
            let mut distinct = pairs.clone();
            distinct.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            distinct.dedup();
            assert!(is_near(&results[12], defined(&distinct)[10]));
            let kept: Vec<(f64, f64)> = of_key().filter(|row| row.3).filter_map(|row| Some((row.1?, row.2?))).collect();
            assert!(is_near(&results[13], defined(&kept)[10]));
        }
        for parts in 1..=4 {
            let rows_max = [7, 64, 3_000][random.below(3)];
            assert!(actual(&spec, &batch, parts, rows_max, random) == whole, "{parts} parts");
        }
    }
}

/// What one task knows of its groups, taken in by another, gives the bits of the whole.
#[test]
fn partial_groups_merge_to_the_same_bits() {
    let random = &mut Random(3);
    // Far from each other, so that sums leave their windows; and no number at all.
    let values = [1e300, -1e300, 1e-300, 0.1, 7.0, -3.5, f64::INFINITY, f64::NAN];
    for distinct in [6, 7, 8] {
        let rows: Vec<_> = (0..500)
            .map(|_| {
                let mut value = || random.chance(90).then(|| values[random.below(distinct)]);
                let (y, x) = (value(), value());
                (random.below(30) as i64, y, x, true)
            })
            .collect();
        let batch = batch_of(&rows);
        let calls: Vec<_> = calls().into_iter().filter(|call| !call.is_distinct).collect();
        let spec = spec(&[0], calls, &batch.schema());
        let whole = actual(&spec, &batch, 2, 40, random);
        let partial = AggregateSpec { phase: AggregatePhase::Partial, ..spec.clone() };
        let partial_schema = partial.partial_schema().unwrap();
        let mut parts = run(&partial, &batch.slice(0, 200), 2, 30, random).unwrap();
        parts.extend(run(&partial, &batch.slice(200, 300), 3, 60, random).unwrap());
        let parts = compute::concat_batches(&partial_schema, &parts).unwrap();
        let merging = AggregateSpec { phase: AggregatePhase::Final, ..spec };
        assert!(actual(&merging, &parts, 2, 11, random) == whole);
    }
}

#[test]
fn what_is_no_number_has_its_answer() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let null = Val::Null;
    let not_a_number = || Val::Float(nan.to_bits());
    let number = |value: f64| Val::Float(value.to_bits());
    let mut rows = Vec::new();
    let mut add =
        |key: i64, pairs: &[(f64, f64)]| rows.extend(pairs.iter().map(|(y, x)| (key, Some(*y), Some(*x), true)));
    add(0, &[(nan, nan)]);
    add(1, &[(nan, 1.0), (2.0, 3.0)]);
    add(2, &[(1.0, nan), (2.0, 3.0)]);
    add(3, &[(infinity, 1.0), (2.0, 3.0)]);
    add(4, &[(5.0, 4.0)]);
    add(5, &[(1e200, 1e-200), (3e200, 3e-200)]);
    let batch = batch_of(&rows);
    let spec = spec(&[0], calls(), &batch.schema());
    let groups = actual(&spec, &batch, 2, 2, &mut Random(5));
    let of = |key: i128, function: F| {
        let place = FUNCTIONS.iter().position(|known| *known == function).unwrap();
        canonical(groups[&vec![Val::Int(key)]][place].clone())
    };
    assert_eq!((of(0, F::Corr), of(0, F::CovarPopulation)), (canonical(not_a_number()), canonical(not_a_number())));
    assert_eq!((of(0, F::RegrSlope), of(0, F::RegrR2)), (null.clone(), null.clone()));
    assert_eq!((of(1, F::Corr), of(1, F::RegrR2)), (null.clone(), canonical(not_a_number())));
    assert_eq!((of(1, F::RegrSxx), of(1, F::RegrAvgX)), (number(2.0), number(2.0)));
    assert_eq!((of(2, F::Corr), of(2, F::RegrSlope)), (null.clone(), canonical(not_a_number())));
    assert_eq!((of(3, F::Corr), of(3, F::RegrAvgY)), (canonical(not_a_number()), number(infinity)));
    assert_eq!((of(4, F::Corr), of(4, F::CovarSample), of(4, F::RegrSlope)), (null.clone(), null.clone(), null));
    assert_eq!(
        (of(4, F::CovarPopulation), of(4, F::RegrAvgX), of(4, F::RegrSyy)),
        (number(0.0), number(4.0), number(0.0))
    );
    // The squares are far outside of what a float holds, their product is not.
    assert_eq!((of(5, F::CovarPopulation), of(5, F::RegrSxy)), (number(1.0), number(2.0)));
}

#[test]
fn pairs_of_other_types_are_refused() {
    let batch = batch_of(&[(1, Some(1.0), Some(2.0), true)]);
    for arguments in [vec![0, 1], vec![1, 0], vec![1]] {
        let arguments: Vec<_> = arguments.into_iter().map(Expression::Column).collect();
        let spec =
            spec(&[], vec![AggregateCall { arguments, ..call(F::Corr, None, DataType::Float64) }], &batch.schema());
        let error = Aggregate::new(&spec, &context(10), &Arc::new(Parameters::default())).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}
