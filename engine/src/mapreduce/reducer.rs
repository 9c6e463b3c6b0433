//! What is done to the values of each key: reducers, the one that does nothing, combiners.

use std::{any::type_name, borrow::Cow, fmt, marker::PhantomData};

use super::context::Context;
use crate::{
    dataset::{Record, Values},
    error::Result,
};

/// The job's code for each key and its values. Its value is cloned for each part.
pub trait Reducer: Clone + Send + Sync + 'static {
    /// What mappers emit as key.
    type Key: Record;
    /// And as value.
    type Value: Record;
    /// What is emitted here.
    type Out: Record;

    /// Before the first key of a part, also if it has none.
    fn set_up(&mut self, _context: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }

    /// A key, the first one of its group, and the values of the group, of which it may leave some. Keys of a part come in order.
    fn reduce(
        &mut self,
        key: <Self::Key as Record>::View<'_>,
        values: &mut Values<'_, '_, Self::Key, Self::Value>,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()>;

    /// Behind the last key of a part.
    fn clean_up(&mut self, _context: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }

    /// What it is called where it fails: its type.
    fn name(&self) -> Cow<'static, str> {
        type_name::<Self>().into()
    }
}

/// A reducer whose records are what it takes: it may see the values of a key several times, some of them each time, or not at all. So what comes of
/// all must not depend on how often, nor on which values it saw together.
pub trait Combiner<K: Record, V: Record>: Reducer<Key = K, Value = V, Out = (K, V)> {}

impl<K: Record, V: Record, R: Reducer<Key = K, Value = V, Out = (K, V)>> Combiner<K, V> for R {}

/// Emits each key with each of its values, in order.
pub struct IdentityReducer<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> Default for IdentityReducer<K, V> {
    fn default() -> IdentityReducer<K, V> {
        IdentityReducer(PhantomData)
    }
}

impl<K, V> Clone for IdentityReducer<K, V> {
    fn clone(&self) -> IdentityReducer<K, V> {
        IdentityReducer(PhantomData)
    }
}

impl<K, V> fmt::Debug for IdentityReducer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityReducer")
    }
}

impl<K: Record, V: Record> Reducer for IdentityReducer<K, V> {
    type Key = K;
    type Value = V;
    type Out = (K, V);

    fn reduce(
        &mut self,
        _key: K::View<'_>,
        values: &mut Values<'_, '_, K, V>,
        context: &mut Context<'_, (K, V)>,
    ) -> Result<()> {
        // A key of its own for each value: those of one group may differ behind the columns that it is grouped by.
        while let Some((key, value)) = values.next_pair() {
            context.emit((key, value));
        }
        Ok(())
    }
}
