//! What is done to each record: mappers, the one that does nothing, and two in a row.

use std::{any::type_name, borrow::Cow, fmt, marker::PhantomData};

use super::context::{Context, Push, Task};
use crate::{dataset::Record, error::Error, error::Result};

/// The job's code for each record of the input. Its value is cloned for each split.
pub trait Mapper: Clone + Send + Sync + 'static {
    /// A record of the input.
    type In: Record;
    /// What is emitted: any record, or a key and a value for a reducer.
    type Out: Record;

    /// Before the first record of a split, also if it has none.
    fn set_up(&mut self, _context: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }

    /// A record. An error fails the job and names the record, unless such records are to be left out ([`Job::skip_bad_records`]); what it emitted before the
    /// error stays.
    ///
    /// [`Job::skip_bad_records`]: super::Job::skip_bad_records
    fn map(&mut self, record: <Self::In as Record>::View<'_>, context: &mut Context<'_, Self::Out>) -> Result<()>;

    /// Behind the last record of a split.
    fn clean_up(&mut self, _context: &mut Context<'_, Self::Out>) -> Result<()> {
        Ok(())
    }

    /// What it is called where it fails: its type.
    fn name(&self) -> Cow<'static, str> {
        type_name::<Self>().into()
    }

    /// This mapper, and `next` for each record that it emits.
    fn then<N: Mapper<In = Self::Out>>(self, next: N) -> Chain<Self, N> {
        Chain { first: self, next }
    }
}

/// Emits each record as it is.
pub struct IdentityMapper<T>(PhantomData<fn() -> T>);

impl<T> Default for IdentityMapper<T> {
    fn default() -> IdentityMapper<T> {
        IdentityMapper(PhantomData)
    }
}

impl<T> Clone for IdentityMapper<T> {
    fn clone(&self) -> IdentityMapper<T> {
        IdentityMapper(PhantomData)
    }
}

impl<T> fmt::Debug for IdentityMapper<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityMapper")
    }
}

impl<T: Record> Mapper for IdentityMapper<T> {
    type In = T;
    type Out = T;

    fn map(&mut self, record: T::View<'_>, context: &mut Context<'_, T>) -> Result<()> {
        context.emit(record);
        Ok(())
    }
}

/// Two mappers, the second for each record that the first one emits, at once.
#[derive(Clone, Debug)]
pub struct Chain<F, N> {
    first: F,
    next: N,
}

impl<F: Mapper, N: Mapper<In = F::Out>> Chain<F, N> {
    /// Calls the first mapper, whose records the next one gets.
    fn linked(
        &mut self,
        context: &mut Context<'_, N::Out>,
        call: impl FnOnce(&mut F, &mut Context<'_, F::Out>) -> Result<()>,
    ) -> Result<()> {
        let task: &Task = context.task();
        let mut link = Link { mapper: &mut self.next, context, failure: None };
        call(&mut self.first, &mut Context::linked(&mut link, task))?;
        link.failure.map_or(Ok(()), Err)
    }
}

impl<F: Mapper, N: Mapper<In = F::Out>> Mapper for Chain<F, N> {
    type In = F::In;
    type Out = N::Out;

    fn set_up(&mut self, context: &mut Context<'_, N::Out>) -> Result<()> {
        // The next one is ready when the first one emits.
        self.next.set_up(context)?;
        self.linked(context, |first, context| first.set_up(context))
    }

    fn map(&mut self, record: <F::In as Record>::View<'_>, context: &mut Context<'_, N::Out>) -> Result<()> {
        self.linked(context, |first, context| first.map(record, context))
    }

    fn clean_up(&mut self, context: &mut Context<'_, N::Out>) -> Result<()> {
        self.linked(context, |first, context| first.clean_up(context))?;
        self.next.clean_up(context)
    }
}

/// Where the records of the first mapper of a chain go.
struct Link<'l, 'c, N: Mapper> {
    mapper: &'l mut N,
    context: &'l mut Context<'c, N::Out>,
    failure: Option<Error>,
}

impl<N: Mapper> Push<N::In> for Link<'_, '_, N> {
    fn push(&mut self, row: <N::In as Record>::View<'_>) {
        if self.failure.is_none() {
            self.failure = self.mapper.map(row, self.context).err();
        }
    }
}
