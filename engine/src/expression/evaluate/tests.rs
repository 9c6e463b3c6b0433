//! Each form of expression against a plain loop over the rows, NULLs included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    batch::{
        array::{
            Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
            StringArray, StringViewArray,
        },
        compute::concat_batches,
        datatypes::{DataType, Field, Int32Type, Int64Type, Schema},
    },
    error::Kind,
    expression::{BinaryOp, Expression, Literal},
    limits::PLAN_DEPTH_MAX,
};

fn batch(columns: Vec<ArrayRef>) -> Batch {
    let fields: Vec<_> =
        columns.iter().enumerate().map(|(k, c)| Field::new(format!("c{k}"), c.data_type().clone(), true)).collect();
    Batch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn run(expression: &Expression, batch: &Batch) -> Result<ArrayRef> {
    let evaluator = Evaluator::new(expression, &batch.schema(), &Arc::default())?;
    let array = evaluator.evaluate_to_array(batch)?;
    assert_eq!(array.len(), batch.num_rows(), "{expression}");
    assert_eq!(array.data_type(), &expression.data_type(&batch.schema())?, "{expression}");
    assert_eq!(array.data_type(), evaluator.data_type());
    Ok(array)
}

fn column(number: usize) -> Expression {
    Expression::Column(number)
}

fn literal(value: impl Into<Literal>) -> Expression {
    Expression::Literal(value.into())
}

fn null(data_type: &DataType) -> Expression {
    Expression::Literal(Literal::null(data_type).unwrap())
}

fn binary(op: BinaryOp, left: Expression, right: Expression) -> Expression {
    Expression::Binary { op, left: Box::new(left), right: Box::new(right) }
}

fn call(name: &str, arguments: Vec<Expression>, returns: DataType) -> Expression {
    Expression::Function { name: name.to_owned(), arguments, returns }
}

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn truths(array: &ArrayRef) -> Vec<Option<bool>> {
    array.as_boolean().iter().collect()
}

/// Compares with a plain function of two nullable integers, for column and column, column and value, value and column.
fn check_binary<T: PartialEq + std::fmt::Debug>(
    op: BinaryOp,
    read: impl Fn(&ArrayRef) -> Vec<Option<T>>,
    plain: impl Fn(Option<i64>, Option<i64>) -> Option<T>,
) {
    let values = [None, Some(-3), Some(0), Some(2), Some(7)];
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for l in values {
        for r in values {
            if r != Some(0) || !matches!(op, BinaryOp::Divide | BinaryOp::Modulo) {
                left.push(l);
                right.push(r);
            }
        }
    }
    let rows = batch(vec![ints(&left), ints(&right)]);
    let expected: Vec<_> = left.iter().zip(&right).map(|(l, r)| plain(*l, *r)).collect();
    assert_eq!(read(&run(&binary(op, column(0), column(1)), &rows).unwrap()), expected, "{op:?}");
    for constant in [Some(2), None] {
        let value = constant.map_or_else(|| null(&DataType::Int64), literal);
        let expected: Vec<_> = left.iter().map(|l| plain(*l, constant)).collect();
        assert_eq!(read(&run(&binary(op, column(0), value.clone()), &rows).unwrap()), expected, "{op:?} {constant:?}");
        let expected: Vec<_> = right.iter().map(|r| plain(constant, *r)).collect();
        assert_eq!(read(&run(&binary(op, value, column(1)), &rows).unwrap()), expected, "{constant:?} {op:?}");
    }
}

#[test]
fn comparisons_and_arithmetic() {
    use BinaryOp::*;
    let compare = |op, plain: fn(i64, i64) -> bool| {
        check_binary(op, truths, |l, r| Some(plain(l?, r?)));
    };
    compare(Eq, |l, r| l == r);
    compare(NotEq, |l, r| l != r);
    compare(Lt, |l, r| l < r);
    compare(LtEq, |l, r| l <= r);
    compare(Gt, |l, r| l > r);
    compare(GtEq, |l, r| l >= r);
    check_binary(IsDistinctFrom, truths, |l, r| Some(l != r));
    check_binary(IsNotDistinctFrom, truths, |l, r| Some(l == r));
    let numbers = |array: &ArrayRef| array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    let arithmetic = |op, plain: fn(i64, i64) -> i64| check_binary(op, numbers, |l, r| Some(plain(l?, r?)));
    arithmetic(Plus, |l, r| l + r);
    arithmetic(Minus, |l, r| l - r);
    arithmetic(Multiply, |l, r| l * r);
    arithmetic(Divide, |l, r| l / r);
    arithmetic(Modulo, |l, r| l % r);
    arithmetic(BitAnd, |l, r| l & r);
    arithmetic(BitOr, |l, r| l | r);
    arithmetic(BitXor, |l, r| l ^ r);
    arithmetic(ShiftLeft, |l, r| l.wrapping_shl(r as u32));
    arithmetic(ShiftRight, |l, r| l.wrapping_shr(r as u32));
}

#[test]
fn overflow_and_division_by_zero_are_errors_of_the_data() {
    let rows = batch(vec![ints(&[Some(i64::MAX), Some(1)]), ints(&[Some(1), Some(0)])]);
    for (op, left, right) in [
        (BinaryOp::Plus, column(0), literal(1i64)),
        (BinaryOp::Multiply, column(0), literal(2i64)),
        (BinaryOp::Minus, literal(-2i64), column(0)),
        (BinaryOp::Divide, column(0), column(1)),
        (BinaryOp::Modulo, column(0), column(1)),
    ] {
        let error = run(&binary(op, left, right), &rows).unwrap_err();
        assert_eq!(error.kind(), Kind::Job, "{error}");
    }
    let lowest = batch(vec![ints(&[Some(i64::MIN)])]);
    assert!(run(&Expression::Negate(Box::new(column(0))), &lowest).is_err());
}

#[test]
fn floats_have_one_zero_and_one_nan() {
    let values = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.0];
    let rows = batch(vec![Arc::new(Float64Array::from(values.to_vec()))]);
    let equal = |value: f64| truths(&run(&binary(BinaryOp::Eq, column(0), literal(value)), &rows).unwrap());
    let yes = |hits: [bool; 6]| hits.map(Some).to_vec();
    assert_eq!(equal(-0.0), yes([true, true, false, false, false, false]));
    assert_eq!(equal(f64::NAN), yes([false, false, true, true, false, false]));
    let greater = truths(&run(&binary(BinaryOp::Gt, column(0), literal(f64::INFINITY)), &rows).unwrap());
    assert_eq!(greater, yes([false, false, true, true, false, false]));
    let listed =
        Expression::InList { input: Box::new(column(0)), list: vec![literal(0.0), literal(1.0)], is_negated: false };
    assert_eq!(truths(&run(&listed, &rows).unwrap()), yes([true, true, false, false, false, true]));
}

#[test]
fn dates_and_decimals() {
    let rows = batch(vec![
        Arc::new(Date32Array::from(vec![Some(9_496), None])),
        Arc::new(Decimal128Array::from(vec![Some(1_050), None]).with_precision_and_scale(15, 2).unwrap()),
    ]);
    let days = run(&binary(BinaryOp::Minus, column(0), literal(Literal::date(9_490))), &rows).unwrap();
    assert_eq!(days.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(6), None]);
    let less = binary(BinaryOp::Minus, literal(Literal::decimal(100, 3, 2)), column(1));
    let product = run(&binary(BinaryOp::Multiply, column(1), less), &rows).unwrap();
    assert_eq!(product.data_type(), &DataType::Decimal128(32, 4));
}

#[test]
fn three_valued_logic_on_few_rows_and_on_many() {
    let all = [Some(true), Some(false), None];
    let and = |l: Option<bool>, r: Option<bool>| match (l, r) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let or = |l: Option<bool>, r: Option<bool>| match (l, r) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    // With much padding of a decided truth the undecided rows are few, and are gathered.
    for (padding, decided) in [(0, false), (200, false), (200, true)] {
        let (mut left, mut right) = (vec![Some(decided); padding], vec![Some(true); padding]);
        for l in all {
            for r in all {
                left.push(l);
                right.push(r);
            }
        }
        let rows = batch(vec![Arc::new(BooleanArray::from(left.clone())), Arc::new(BooleanArray::from(right.clone()))]);
        for (op, plain) in [(BinaryOp::And, &and as &dyn Fn(_, _) -> _), (BinaryOp::Or, &or)] {
            let expected: Vec<_> = left.iter().zip(&right).map(|(l, r)| plain(*l, *r)).collect();
            assert_eq!(truths(&run(&binary(op, column(0), column(1)), &rows).unwrap()), expected, "{op:?} {padding}");
            let thrice = binary(op, binary(op, column(0), column(1)), column(0));
            assert_eq!(truths(&run(&thrice, &rows).unwrap()), expected, "{op:?} three times");
            for constant in all {
                let value = constant.map_or_else(|| null(&DataType::Boolean), literal);
                let expected: Vec<_> = left.iter().map(|l| plain(*l, constant)).collect();
                assert_eq!(truths(&run(&binary(op, column(0), value.clone()), &rows).unwrap()), expected);
                assert_eq!(truths(&run(&binary(op, value, column(0)), &rows).unwrap()), expected);
            }
        }
        let expected: Vec<_> = left.iter().map(|l| l.map(|l| !l)).collect();
        assert_eq!(truths(&run(&Expression::Not(Box::new(column(0))), &rows).unwrap()), expected);
        let expected: Vec<_> = left.iter().map(|l| Some(l.is_none())).collect();
        assert_eq!(truths(&run(&Expression::IsNull(Box::new(column(0))), &rows).unwrap()), expected);
        for truth in [true, false] {
            let expected: Vec<_> = left.iter().map(|l| Some(*l == Some(truth))).collect();
            let is = Expression::IsTruth { input: Box::new(column(0)), truth };
            assert_eq!(truths(&run(&is, &rows).unwrap()), expected);
        }
    }
}

/// `10 / x > 1`, an error where x is 0.
fn fragile(x: Expression) -> Expression {
    binary(BinaryOp::Gt, binary(BinaryOp::Divide, literal(10i64), x), literal(1i64))
}

#[test]
fn and_or_and_case_guard_a_division() {
    for zeros in [1, 50] {
        let mut values = vec![Some(0); zeros];
        values.extend([Some(3), None, Some(20), Some(5)]);
        let rows = batch(vec![ints(&values)]);
        let and = binary(BinaryOp::And, binary(BinaryOp::NotEq, column(0), literal(0i64)), fragile(column(0)));
        let mut expected = vec![Some(false); zeros];
        expected.extend([Some(true), None, Some(false), Some(true)]);
        assert_eq!(truths(&run(&and, &rows).unwrap()), expected);
        let or = binary(BinaryOp::Or, binary(BinaryOp::Eq, column(0), literal(0i64)), fragile(column(0)));
        let mut expected = vec![Some(true); zeros];
        expected.extend([Some(true), None, Some(false), Some(true)]);
        assert_eq!(truths(&run(&or, &rows).unwrap()), expected);
        let case = Expression::Case {
            branches: vec![
                (binary(BinaryOp::Eq, column(0), literal(0i64)), literal(-1i64)),
                (fragile(column(0)), binary(BinaryOp::Divide, literal(100i64), column(0))),
            ],
            otherwise: None,
        };
        let mut expected = vec![Some(-1); zeros];
        expected.extend([Some(33), None, None, Some(20)]);
        let array = run(&case, &rows).unwrap();
        assert_eq!(array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
        assert!(run(&fragile(column(0)), &rows).is_err());
    }
}

#[test]
fn a_constant_that_fails_waits_for_a_row() {
    let never = Expression::Case {
        branches: vec![(binary(BinaryOp::Gt, column(0), literal(5i64)), fragile(literal(0i64)))],
        otherwise: Some(Box::new(literal(false))),
    };
    assert_eq!(truths(&run(&never, &batch(vec![ints(&[Some(1), None])])).unwrap()), [Some(false), Some(false)]);
    assert!(run(&never, &batch(vec![ints(&[Some(9)])])).is_err());
}

proptest! {
    /// CASE with several branches, whose conditions may be NULL, on batches of all sizes; strings of all lengths as values.
    #[test]
    fn case_is_the_first_true_branch(values in prop::collection::vec(prop::option::of(-4i64..4), 0..60)) {
        let texts: Vec<_> = values.iter().map(|v| v.map(|v| "long enough to need a buffer".repeat(v.unsigned_abs() as usize))).collect();
        let rows = batch(vec![ints(&values), Arc::new(StringViewArray::from(texts.iter().map(|t| t.as_deref()).collect::<Vec<_>>()))]);
        let less = |bound: i64| binary(BinaryOp::Lt, column(0), literal(bound));
        let case = Expression::Case {
            branches: vec![
                (less(-2), literal("small")),
                (less(0), column(1)),
                (Expression::IsNull(Box::new(column(0))), null(&DataType::Utf8View)),
                (less(2), call("upper", vec![column(1)], DataType::Utf8View)),
            ],
            otherwise: Some(Box::new(literal("large"))),
        };
        let expected: Vec<Option<String>> = values.iter().zip(&texts).map(|(v, t)| match v {
            Some(..-2) => Some("small".to_owned()),
            Some(..0) => t.clone(),
            None => None,
            Some(..2) => t.as_ref().map(|t| t.to_uppercase()),
            _ => Some("large".to_owned()),
        }).collect();
        let array = run(&case, &rows).unwrap();
        prop_assert_eq!(array.as_string_view().iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>(), expected);
    }

    /// IN over integers and strings, short and long lists, with and without a NULL in the list.
    #[test]
    fn in_list_is_a_chain_of_equalities(
        values in prop::collection::vec(prop::option::of(0i64..30), 0..80),
        list in prop::collection::vec(0i64..30, 0..25),
        has_null: bool,
        is_negated: bool,
    ) {
        let text = |v: i64| if v % 2 == 0 { format!("{v}") } else { format!("a text longer than a view {v}") };
        let texts: Vec<_> = values.iter().map(|v| v.map(text)).collect();
        let rows = batch(vec![
            ints(&values),
            Arc::new(StringViewArray::from(texts.iter().map(|t| t.as_deref()).collect::<Vec<_>>())),
            Arc::new(StringArray::from(texts.iter().map(|t| t.as_deref()).collect::<Vec<_>>())),
        ]);
        let expected: Vec<Option<bool>> = values.iter().map(|v| {
            if list.is_empty() && !has_null {
                // Nothing is in an empty list; arrow's NULL rows stay NULL, which no filter lets through either.
                return v.map(|_| is_negated);
            }
            match v {
                None => None,
                Some(v) if list.contains(v) => Some(!is_negated),
                Some(_) if has_null => None,
                Some(_) => Some(is_negated),
            }
        }).collect();
        for (number, data_type) in [(0, DataType::Int64), (1, DataType::Utf8View), (2, DataType::Utf8)] {
            let mut elements: Vec<_> = list.iter().map(|v| if number == 0 { literal(*v) } else { literal(text(*v)) }).collect();
            if has_null {
                elements.push(null(&data_type));
            }
            let listed = Expression::InList { input: Box::new(column(number)), list: elements, is_negated };
            prop_assert_eq!(truths(&run(&listed, &rows).unwrap()), expected.clone());
        }
    }
}

#[test]
fn in_list_of_columns_and_of_other_types() {
    let rows = batch(vec![ints(&[Some(1), Some(2), None, Some(4)]), ints(&[Some(1), Some(3), Some(1), None])]);
    let listed =
        Expression::InList { input: Box::new(column(0)), list: vec![column(1), literal(2i64)], is_negated: false };
    assert_eq!(truths(&run(&listed, &rows).unwrap()), [Some(true), Some(true), None, None]);
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(vec![Some(105), Some(1), None]).with_precision_and_scale(15, 2).unwrap());
    let list = vec![literal(Literal::decimal(105, 15, 2)), literal(Literal::decimal(999, 15, 2))];
    let listed = Expression::InList { input: Box::new(column(0)), list, is_negated: true };
    assert_eq!(truths(&run(&listed, &batch(vec![decimals])).unwrap()), [Some(false), Some(true), None]);
}

/// `%` any run, `_` any character, `\` before a character that stands for itself.
fn plain_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| plain_like(&text[skip..], rest)),
        ['_', rest @ ..] => !text.is_empty() && plain_like(&text[1..], rest),
        ['\\', escaped, rest @ ..] | [escaped, rest @ ..] => {
            text.first() == Some(escaped) && plain_like(&text[1..], rest)
        }
    }
}

#[test]
fn like_in_its_four_forms() {
    let texts = [Some("special requests"), Some("SPECIAL x REQUESTS"), Some(""), None, Some("50%"), Some("a\nb")];
    let views: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
    let strings: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let rows = batch(vec![views, strings]);
    for pattern in ["%special%requests%", "special%", "%requests", "special requests", "%", "", "_0\\%", "a_b", "%x%"] {
        for (is_negated, ignores_case) in [(false, false), (false, true), (true, false), (true, true)] {
            let fold = |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
            let characters = |text: &str| fold(text).chars().collect::<Vec<_>>();
            let expected: Vec<_> = texts
                .iter()
                .map(|text| text.map(|text| plain_like(&characters(text), &characters(pattern)) != is_negated))
                .collect();
            for number in [0, 1] {
                let pattern = Box::new(literal(pattern));
                let like = Expression::Like { input: Box::new(column(number)), pattern, is_negated, ignores_case };
                assert_eq!(truths(&run(&like, &rows).unwrap()), expected, "{like}");
            }
        }
    }
}

#[test]
fn casts_fail_and_try_casts_give_null() {
    let rows = batch(vec![Arc::new(StringViewArray::from(vec![Some("12"), Some("x"), None]))]);
    let cast = |is_try| Expression::Cast { input: Box::new(column(0)), to: DataType::Int64, is_try };
    assert_eq!(run(&cast(false), &rows).unwrap_err().kind(), Kind::Job);
    let tried = run(&cast(true), &rows).unwrap();
    assert_eq!(tried.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(12), None, None]);
}

#[test]
fn functions_of_the_registry() {
    let rows = batch(vec![
        Arc::new(StringViewArray::from(vec![Some("13-702-694-4520"), None, Some("äöü"), Some("x")])),
        Arc::new(Date32Array::from(vec![Some(9_496), Some(0), None, Some(-1)])),
    ]);
    let view = DataType::Utf8View;
    let texts = |expression| {
        let array = run(&expression, &rows).unwrap();
        array.as_string_view().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    let owned = |texts: [Option<&str>; 4]| texts.map(|text| text.map(str::to_owned)).to_vec();
    let part = call("substr", vec![column(0), literal(1i64), literal(2i64)], view.clone());
    assert_eq!(texts(part), owned([Some("13"), None, Some("äö"), Some("x")]));
    let tail = call("substr", vec![column(0), literal(2i64)], view.clone());
    assert_eq!(texts(tail), owned([Some("3-702-694-4520"), None, Some("öü"), Some("")]));
    let upper = call("upper", vec![column(0)], view);
    assert_eq!(texts(upper), owned([Some("13-702-694-4520"), None, Some("ÄÖÜ"), Some("X")]));
    let both = binary(BinaryOp::Concat, column(0), literal("!"));
    assert_eq!(texts(both), owned([Some("13-702-694-4520!"), None, Some("äöü!"), Some("x!")]));
    let year = call("date_part", vec![literal("year"), column(1)], DataType::Int32);
    let years = run(&year, &rows).unwrap();
    assert_eq!(
        years.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(),
        [Some(1996), Some(1970), None, Some(1969)]
    );
    let constant = call("upper", vec![literal("abc")], DataType::Utf8View);
    assert_eq!(texts(constant), owned([Some("ABC"); 4]));
    assert!(Evaluator::new(&call("nope", vec![], DataType::Int32), &rows.schema(), &Arc::default()).is_err());
    assert!(Evaluator::new(&call("random", vec![], DataType::Float64), &rows.schema(), &Arc::default()).is_err());
}

#[test]
fn masks_have_no_nulls_and_the_length_of_the_batch() {
    let rows = batch(vec![ints(&[Some(1), None, Some(3)])]);
    let mask = |expression| {
        let evaluator = Evaluator::new(&expression, &rows.schema(), &Arc::default()).unwrap();
        evaluator.evaluate_mask(&rows).unwrap().iter().collect::<Vec<_>>()
    };
    assert_eq!(mask(binary(BinaryOp::Gt, column(0), literal(2i64))), [Some(false), Some(false), Some(true)]);
    assert_eq!(mask(literal(true)), [Some(true); 3]);
    assert_eq!(mask(null(&DataType::Boolean)), [Some(false); 3]);
    assert_eq!(mask(Expression::Literal(Literal::null(&DataType::Null).unwrap())), [Some(false); 3]);
}

#[test]
fn parameters_are_set_once_and_by_type() {
    let rows = batch(vec![ints(&[Some(1), Some(3)])]);
    let parameters = Arc::new(Parameters::new([DataType::Int64]));
    let above = binary(BinaryOp::Gt, column(0), Expression::Parameter { number: 0, data_type: DataType::Int64 });
    let evaluator = Evaluator::new(&above, &rows.schema(), &parameters).unwrap();
    assert_eq!(evaluator.evaluate(&rows).unwrap_err().kind(), Kind::Internal);
    assert!(parameters.set(0, Literal::from("2")).is_err() && parameters.set(1, Literal::from(2i64)).is_err());
    parameters.set(0, Literal::from(2i64)).unwrap();
    assert!(parameters.set(0, Literal::from(2i64)).is_err());
    assert_eq!(truths(&evaluator.evaluate_to_array(&rows).unwrap()), [Some(false), Some(true)]);
}

#[test]
fn the_deepest_expression_runs_on_the_stack_of_a_worker() {
    let run_deep = || {
        let rows = batch(vec![ints(&[Some(1), None])]);
        let sum = (2..PLAN_DEPTH_MAX).fold(column(0), |sum, _| binary(BinaryOp::Plus, sum, column(0)));
        let case = |inner| Expression::Case {
            branches: vec![(Expression::IsNull(Box::new(column(0))), literal(0i64))],
            otherwise: Some(Box::new(inner)),
        };
        let cases = (2..PLAN_DEPTH_MAX).fold(column(0), |inner, _| case(inner));
        let last = PLAN_DEPTH_MAX as i64 - 1;
        for (deep, expected) in [(sum, [Some(last), None]), (cases, [Some(1), Some(0)])] {
            let array = run(&deep, &rows).unwrap();
            assert_eq!(array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run_deep).unwrap().join().unwrap();
}

#[test]
fn batches_may_be_empty_and_may_be_slices() {
    let case = Expression::Case {
        branches: vec![(fragile(column(0)), column(0)), (Expression::IsNull(Box::new(column(0))), literal(7i64))],
        otherwise: Some(Box::new(literal(8i64))),
    };
    let both = binary(BinaryOp::And, fragile(column(0)), binary(BinaryOp::Lt, column(0), literal(4i64)));
    let rows = batch(vec![ints(&[Some(1), None, Some(20), Some(5), Some(3), None, Some(2)])]);
    for expression in [case, both] {
        let whole = run(&expression, &rows).unwrap();
        assert_eq!(run(&expression, &rows.slice(0, 0)).unwrap().len(), 0);
        for start in 0..7 {
            let slice = run(&expression, &rows.slice(start, 7 - start)).unwrap();
            assert_eq!(slice.as_ref(), whole.slice(start, 7 - start).as_ref());
        }
        let twice = concat_batches(&rows.schema(), [&rows, &rows]).unwrap();
        assert_eq!(run(&expression, &twice).unwrap().slice(7, 7).as_ref(), whole.as_ref());
    }
}
