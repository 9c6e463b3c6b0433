//! Lines to a program and from it, as a mapper and as a reducer.
//!
//! In: records of a split; keys and values of a part. Out: what the program prints, as lines or as keys and values. Never: a process that outlives its
//! life.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use super::{command::Command, keys::Cut, process::Piped};
use crate::{
    dataset::{Record, Values},
    error::Result,
    mapreduce::{Context, Mapper, Reducer},
    operator::Cancel,
};

/// What a process is started by, and how lines are cut.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) command: Command,
    pub(super) environment: Vec<(String, String)>,
    pub(super) cut: Cut,
    pub(super) cancel: Cancel,
}

/// What becomes of a line that a program prints.
pub(super) trait Printed: Record {
    fn emit(line: &[u8], cut: Cut, context: &mut Context<'_, Self>);
}

impl Printed for Vec<u8> {
    fn emit(line: &[u8], _cut: Cut, context: &mut Context<'_, Vec<u8>>) {
        context.emit(line);
    }
}

impl Printed for (Vec<u8>, Vec<u8>) {
    fn emit(line: &[u8], cut: Cut, context: &mut Context<'_, (Vec<u8>, Vec<u8>)>) {
        context.emit(cut.split(line));
    }
}

/// A program in the place of a mapper or a reducer.
pub(super) struct Feeding<T> {
    feed: Arc<Feed>,
    process: Option<Piped>,
    printed: PhantomData<fn() -> T>,
}

impl<T> Feeding<T> {
    pub(super) fn new(feed: Arc<Feed>) -> Feeding<T> {
        Feeding { feed, process: None, printed: PhantomData }
    }
}

impl<T> Clone for Feeding<T> {
    /// For another life, which has a process of its own.
    fn clone(&self) -> Feeding<T> {
        Feeding::new(Arc::clone(&self.feed))
    }
}

impl<T: Printed> Feeding<T> {
    fn start(&mut self, context: &Context<'_, T>) -> Result<()> {
        let mut variables = vec![("mapreduce_task_role", self.feed.command.role.to_owned())];
        if let Some(file) = context.input_file() {
            variables.push(("mapreduce_map_input_file", file.to_string_lossy().into_owned()));
        }
        if let Some(part) = context.part() {
            variables.push(("mapreduce_task_partition", part.to_string()));
        }
        self.process = Some(Piped::start(&self.feed, &variables)?);
        Ok(())
    }

    fn line(&mut self, parts: &[&[u8]], context: &mut Context<'_, T>) -> Result<()> {
        let cut = self.feed.cut;
        match &mut self.process {
            Some(process) => process.line(parts, &mut |line| T::emit(line, cut, context)),
            None => Ok(()),
        }
    }

    fn end(&mut self, context: &mut Context<'_, T>) -> Result<()> {
        let cut = self.feed.cut;
        let Some(process) = self.process.take() else { return Ok(()) };
        let said = process.finish(&mut |line| T::emit(line, cut, context))?;
        if !said.status.is_empty() {
            context.set_status(said.status);
        }
        said.counters.iter().for_each(|(name, by)| context.count(name, *by));
        Ok(())
    }
}

impl<T: Printed> Mapper for Feeding<T> {
    type In = Vec<u8>;
    type Out = T;

    fn set_up(&mut self, context: &mut Context<'_, T>) -> Result<()> {
        self.start(context)
    }

    fn map(&mut self, line: &[u8], context: &mut Context<'_, T>) -> Result<()> {
        self.line(&[line], context)
    }

    fn clean_up(&mut self, context: &mut Context<'_, T>) -> Result<()> {
        self.end(context)
    }

    fn name(&self) -> Cow<'static, str> {
        self.feed.command.text.clone().into()
    }
}

impl<T: Printed> Reducer for Feeding<T> {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Out = T;

    fn set_up(&mut self, context: &mut Context<'_, T>) -> Result<()> {
        self.start(context)
    }

    fn reduce(
        &mut self,
        _key: &[u8],
        values: &mut Values<'_, '_, Vec<u8>, Vec<u8>>,
        context: &mut Context<'_, T>,
    ) -> Result<()> {
        let separator = [self.feed.cut.separator];
        // Keys of one order may differ.
        while let Some((key, value)) = values.next_pair() {
            self.line(&[key, &separator, value], context)?;
        }
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, T>) -> Result<()> {
        self.end(context)
    }

    fn name(&self) -> Cow<'static, str> {
        self.feed.command.text.clone().into()
    }
}
