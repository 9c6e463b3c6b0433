//! What is asked of an aggregate, checked and prepared.
//!
//! In: key expressions, calls, schemas. Out: a [`Plan`]: evaluators, and which states serve which calls. Never: two states for the
//! same thing; `sum(x)` and `avg(x)` share one, `count` needs none.
//!
//! A call has an *input*: arguments, a filter, DISTINCT or not. Of each input the groups know how many values they have seen. A call
//! is an input, perhaps a state over it, and how the result is made of the two.

use std::sync::Arc;

use super::states::{self, StateKind};
use crate::{
    batch::{
        array::new_empty_array,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{Cause, Kind, Result, bug},
    expression::{AggregateCall, AggregateFunction, Evaluator, Expression, Parameters},
    kernel,
};

/// What is grouped by what, and what is computed.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// One row of the result for each distinct combination of their values; with none, exactly one row.
    pub keys: Vec<Expression>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The input's columns.
    pub input: SchemaRef,
    /// The keys' columns, then one a call.
    pub output: SchemaRef,
    /// Whether all of it is done here.
    pub phase: AggregatePhase,
}

/// Which part of the grouping is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregatePhase {
    /// From rows to results.
    Whole,
    /// From rows to what is known of each group so far, in columns of [`AggregateSpec::partial_schema`].
    Partial,
    /// From such columns of several tables to results.
    Final,
    /// From such columns to such columns, of groups with fewer keys.
    Merge,
}

impl AggregatePhase {
    /// Are its rows what other tables know of their groups?
    pub(super) fn takes_parts(self) -> bool {
        matches!(self, AggregatePhase::Final | AggregatePhase::Merge)
    }
}

impl AggregateSpec {
    /// The columns in which a partial grouping tells what it knows: the keys, the number of rows, of each input the rows that did not
    /// count, one a state.
    pub fn partial_schema(&self) -> Result<SchemaRef> {
        Plan::new(self, &Arc::new(Parameters::default())).map(|plan| plan.partial_schema())
    }
}

/// Why an aggregate cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The aggregate has no state for this type.
    #[error("compute {call} of values of type {argument} as {returns}: not supported")]
    UnsupportedCall {
        /// The call, as SQL writes it.
        call: String,
        /// The type of its argument.
        argument: DataType,
        /// The type of its result.
        returns: DataType,
    },
    /// Values of this type cannot be keys.
    #[error("group by values of type {data_type}: not supported")]
    UnsupportedKey {
        /// The type.
        data_type: DataType,
    },
    /// The exact result is not a value of its type.
    #[error("compute {call}: the result of a group does not fit into {data_type}")]
    Overflow {
        /// The call, as SQL writes it.
        call: String,
        /// The type of its result.
        data_type: DataType,
    },
    /// Group numbers have 32 bits.
    #[error("group rows: there are more than 2^31 groups in one table")]
    TooManyGroups,
}

impl Cause for AggregateError {
    fn kind(&self) -> Kind {
        match self {
            AggregateError::UnsupportedCall { .. } | AggregateError::UnsupportedKey { .. } => Kind::Unsupported,
            AggregateError::Overflow { .. } => Kind::Job,
            AggregateError::TooManyGroups => Kind::Limit,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            AggregateError::UnsupportedCall { .. } | AggregateError::UnsupportedKey { .. } => {
                Some("cast the values to another type".to_owned())
            }
            AggregateError::Overflow { .. } => Some("cast the argument to a wider type, as decimal(38, s)".to_owned()),
            AggregateError::TooManyGroups => None,
        }
    }
}

/// The spec, checked and prepared.
pub(super) struct Plan {
    pub(super) keys: Vec<Evaluator>,
    /// Types of the keys as they are grouped: of a dictionary its values', strings as views.
    pub(super) key_types: Arc<[DataType]>,
    pub(super) inputs: Vec<Input>,
    pub(super) states: Vec<StateSpec>,
    pub(super) calls: Vec<Call>,
    pub(super) output: SchemaRef,
    pub(super) phase: AggregatePhase,
}

/// Values that calls are over.
pub(super) struct Input {
    expressions: InputExpressions,
    /// Empty for `count(*)`.
    pub(super) arguments: Vec<Evaluator>,
    /// Types of the arguments as they are taken in: of a dictionary its values'.
    pub(super) types: Vec<DataType>,
    pub(super) filter: Option<Evaluator>,
    pub(super) is_distinct: bool,
}

/// By what inputs are told apart.
#[derive(PartialEq)]
struct InputExpressions {
    arguments: Vec<Expression>,
    filter: Option<Expression>,
    is_distinct: bool,
}

/// A state over an input's arguments.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct StateSpec {
    pub(super) input: usize,
    pub(super) kind: StateKind,
}

/// One column of the result.
pub(super) struct Call {
    pub(super) function: AggregateFunction,
    /// As SQL writes it, for errors.
    pub(super) name: String,
    pub(super) input: usize,
    pub(super) state: Option<usize>,
    /// Type of the values; of the result too, where it is one of them.
    pub(super) argument: DataType,
    pub(super) returns: DataType,
    /// Of an average of decimals: digits behind the point that the result has more than the values.
    pub(super) more_digits: u32,
}

impl Plan {
    pub(super) fn new(spec: &AggregateSpec, parameters: &Arc<Parameters>) -> Result<Plan> {
        let keys: Vec<Evaluator> =
            spec.keys.iter().map(|key| Evaluator::new(key, &spec.input, parameters)).collect::<Result<_>>()?;
        let key_types: Arc<[DataType]> = keys.iter().map(|key| key_type(key.data_type())).collect();
        for key_type in key_types.iter() {
            kernel::hash_columns(&[new_empty_array(key_type)], &mut Vec::new())?;
        }
        if spec.output.fields().len() != keys.len() + spec.calls.len() {
            return Err(bug("aggregate", "the output has not one column for each key and call"));
        }
        let output = Arc::clone(&spec.output);
        let (inputs, states, calls) = (Vec::new(), Vec::new(), Vec::new());
        let mut plan = Plan { keys, key_types, inputs, states, calls, output, phase: spec.phase };
        for call in &spec.calls {
            plan.add_call(call, &spec.input, parameters)?;
        }
        if plan.phase != AggregatePhase::Whole && plan.inputs.iter().any(|input| input.is_distinct) {
            return Err(bug("aggregate", "distinct values cannot be counted in parts"));
        }
        Ok(plan)
    }

    /// The columns of [`AggregateSpec::partial_schema`].
    pub(super) fn partial_schema(&self) -> SchemaRef {
        let key =
            |(number, data_type): (usize, &DataType)| Field::new(format!("key {number}"), data_type.clone(), true);
        let mut fields: Vec<Field> = self.key_types.iter().enumerate().map(key).collect();
        if self.counts_rows() {
            fields.push(Field::new("rows", DataType::UInt64, false));
        }
        for (number, _) in self.inputs.iter().enumerate().filter(|(_, input)| input.may_miss()) {
            fields.push(Field::new(format!("missing {number}"), DataType::UInt64, false));
        }
        for (number, state) in self.states.iter().enumerate() {
            let data_type = states::partial_type(state.kind, &self.inputs[state.input].types[0]);
            fields.push(Field::new(format!("state {number}"), data_type, true));
        }
        Arc::new(Schema::new(fields))
    }

    /// Some input's values are counted once each: a table cannot tell in columns what it knows of them.
    pub(super) fn has_distinct(&self) -> bool {
        self.inputs.iter().any(|input| input.is_distinct)
    }

    /// Some call needs the number of rows of each group.
    pub(super) fn counts_rows(&self) -> bool {
        self.inputs.iter().any(|input| !input.is_distinct)
    }

    fn add_call(&mut self, call: &AggregateCall, input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<()> {
        use AggregateFunction as F;
        let kind = match call.function {
            F::Count => None,
            F::Sum | F::Avg => Some(StateKind::Sum),
            F::Min | F::BoolAnd => Some(StateKind::Least),
            F::Max | F::BoolOr => Some(StateKind::Greatest),
            F::BitAnd => Some(StateKind::BitAnd),
            F::BitOr => Some(StateKind::BitOr),
            F::BitXor => Some(StateKind::BitXor),
            F::VarSample | F::VarPopulation | F::StddevSample | F::StddevPopulation => Some(StateKind::Moments),
            F::Corr
            | F::CovarSample
            | F::CovarPopulation
            | F::RegrSlope
            | F::RegrIntercept
            | F::RegrR2
            | F::RegrAvgX
            | F::RegrAvgY
            | F::RegrSxx
            | F::RegrSyy
            | F::RegrSxy => Some(StateKind::Pairs),
        };
        // Whether a value is seen once or twice cannot be told by what these keep.
        let is_idempotent = matches!(call.function, F::Min | F::Max | F::BoolAnd | F::BoolOr | F::BitAnd | F::BitOr);
        let expressions = InputExpressions {
            arguments: call.arguments.clone(),
            filter: call.filter.clone(),
            is_distinct: call.is_distinct && !is_idempotent && !call.arguments.is_empty(),
        };
        let number = match self.inputs.iter().position(|input| input.expressions == expressions) {
            Some(number) => number,
            None => {
                self.inputs.push(Input::new(expressions, input, parameters)?);
                self.inputs.len() - 1
            }
        };
        let argument = self.inputs[number].types.first().cloned().unwrap_or(DataType::Null);
        let mut prepared = Call {
            function: call.function,
            name: call.show(input),
            input: number,
            state: None,
            argument: argument.clone(),
            returns: call.returns.clone(),
            more_digits: 0,
        };
        // The aggregate of nothing but untyped NULLs needs no state: it is NULL.
        if let Some(kind) = kind.filter(|_| argument != DataType::Null) {
            let unsupported = || AggregateError::UnsupportedCall {
                call: prepared.name.clone(),
                argument: argument.clone(),
                returns: call.returns.clone(),
            };
            // Both values of a pair are of one type.
            let is_of_one_type = self.inputs[number].types.iter().all(|data_type| *data_type == argument);
            let takes = if kind == StateKind::Pairs { 2 } else { 1 };
            let fits = call.arguments.len() == takes && is_of_one_type && can_return(call, &argument);
            if !fits || states::new_state(kind, &argument).is_none() {
                return Err(unsupported().into());
            }
            if call.function == F::Avg {
                prepared.more_digits = states::average_digits(&argument, &call.returns).ok_or_else(unsupported)?;
            }
            let state = StateSpec { input: number, kind };
            prepared.state = Some(self.states.iter().position(|known| *known == state).unwrap_or_else(|| {
                self.states.push(state);
                self.states.len() - 1
            }));
        }
        self.calls.push(prepared);
        Ok(())
    }
}

impl Input {
    /// Some rows may not count.
    pub(super) fn may_miss(&self) -> bool {
        !self.arguments.is_empty() || self.filter.is_some()
    }

    fn new(expressions: InputExpressions, input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<Input> {
        let prepare = |expression: &Expression| Evaluator::new(expression, input, parameters);
        let arguments = expressions.arguments.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let types: Vec<DataType> = arguments.iter().map(|argument| value_type(argument.data_type())).collect();
        if expressions.is_distinct {
            for data_type in &types {
                kernel::hash_columns(&[new_empty_array(data_type)], &mut Vec::new())?;
            }
        }
        let filter = expressions.filter.as_ref().map(prepare).transpose()?;
        let is_distinct = expressions.is_distinct;
        Ok(Input { expressions, arguments, types, filter, is_distinct })
    }
}

/// Can the call over values of type `argument` give the type it was bound to?
fn can_return(call: &AggregateCall, argument: &DataType) -> bool {
    use AggregateFunction as F;
    match call.function {
        F::Count => true,
        F::Sum => states::sum_can_be(argument, &call.returns),
        F::Avg => states::average_digits(argument, &call.returns).is_some(),
        F::Min | F::Max | F::BitAnd | F::BitOr | F::BitXor => value_type(&call.returns) == *argument,
        F::BoolAnd | F::BoolOr => *argument == DataType::Boolean,
        F::VarSample | F::VarPopulation | F::StddevSample | F::StddevPopulation => call.returns == DataType::Float64,
        F::Corr | F::CovarSample | F::CovarPopulation => call.returns == DataType::Float64,
        F::RegrSlope | F::RegrIntercept | F::RegrR2 => call.returns == DataType::Float64,
        F::RegrAvgX | F::RegrAvgY | F::RegrSxx | F::RegrSyy | F::RegrSxy => call.returns == DataType::Float64,
    }
}

/// The type by which keys are grouped: what is looked up is not copied.
fn key_type(data_type: &DataType) -> DataType {
    match (data_type, value_type(data_type)) {
        (DataType::Dictionary(..), DataType::Utf8 | DataType::LargeUtf8) => DataType::Utf8View,
        (_, values) => values,
    }
}

/// The type that a dictionary stands for; any other type is itself.
fn value_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => value_type(values),
        other => other.clone(),
    }
}
