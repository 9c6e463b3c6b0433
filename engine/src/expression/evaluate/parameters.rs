//! The values that become known while the job runs: scalar subqueries'.
//!
//! In: each value once, from the pipeline that computes the subquery. Out: the value, to the evaluators of the pipelines that
//! wait for it. Never: a value of another type than was planned, or a second value.

use std::sync::OnceLock;

use crate::{
    batch::datatypes::DataType,
    error::{Result, bug},
    expression::Literal,
};

/// The parameters of one job, by number.
#[derive(Debug, Default)]
pub struct Parameters {
    values: Vec<(DataType, OnceLock<Literal>)>,
}

impl Parameters {
    /// `types[k]` is the type of parameter k.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Parameters {
        Parameters { values: types.into_iter().map(|data_type| (data_type, OnceLock::new())).collect() }
    }

    /// The type of parameter `number`.
    pub fn data_type(&self, number: usize) -> Result<&DataType> {
        let found = self.values.get(number).map(|(data_type, _)| data_type);
        found.ok_or_else(|| bug("expression", format!("parameter ${number} of {}", self.values.len())))
    }

    /// Makes the value of parameter `number` known, once.
    pub fn set(&self, number: usize, value: Literal) -> Result<()> {
        let Some((data_type, slot)) = self.values.get(number) else {
            return Err(bug("expression", format!("parameter ${number} of {}", self.values.len())));
        };
        if value.data_type() != *data_type {
            return Err(bug("expression", format!("parameter ${number} is {data_type}, not {}", value.data_type())));
        }
        slot.set(value).map_err(|_| bug("expression", format!("parameter ${number} has a value already")))
    }

    /// The value of parameter `number`; asked only by pipelines that wait for it.
    pub fn value(&self, number: usize) -> Result<&Literal> {
        self.values
            .get(number)
            .and_then(|(_, slot)| slot.get())
            .ok_or_else(|| bug("expression", format!("parameter ${number} is read before it is known")))
    }
}
