//! Writing a run: batches become frames, frames gather in a buffer, the buffer goes to a file.
//!
//! In: batches of one schema, each for a part. Out: a [`Run`]. Never: bytes that a batch does not show (`encode_frame` writes a slice's
//! own only); a half-written frame that somebody reads; a file, once the writer is dropped unfinished.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{Frame, Part, Run, RunError, RunFile, Runs, is_full, remove};
use crate::{
    batch::{Batch, datatypes::SchemaRef, payload_bytes},
    error::{Result, bug},
    shuffle::{
        frame::{FrameError, FrameHeader, encode_frame},
        numbers::{Epoch, GroupId, JobId, Sequence},
    },
    store::write_laid,
};

/// Frames are cut at this; the buffer goes to the file when it holds as much.
const FRAME_BYTES: u64 = 1 << 20;

/// A run on its way, of one thread.
pub struct RunWriter {
    runs: Arc<Runs>,
    number: u64,
    holder: &'static str,
    schema: SchemaRef,
    /// Frames that are not in a file yet.
    buffer: Vec<u8>,
    /// Of each of them its part, and where it stands in the buffer.
    waiting: Vec<(usize, Frame)>,
    next_sequence: u64,
    /// The folder that is written to; those before it are full.
    folder: usize,
    /// The file that is written to, the last of `files`.
    pub(super) file: Option<File>,
    pub(super) files: Vec<RunFile>,
    parts: Vec<Part>,
}

impl RunWriter {
    pub(super) fn new(
        runs: &Arc<Runs>,
        number: u64,
        holder: &'static str,
        schema: &SchemaRef,
        buffer: Vec<u8>,
    ) -> RunWriter {
        RunWriter {
            runs: Arc::clone(runs),
            number,
            holder,
            schema: Arc::clone(schema),
            buffer,
            waiting: Vec::new(),
            next_sequence: 0,
            folder: 0,
            file: None,
            files: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Adds the rows of `batch` to a part, in frames of about 1 MiB at most. A part that gets few rows at a time has many small frames:
    /// gather before.
    pub fn append(&mut self, part: usize, batch: &Batch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if part > usize::from(u16::MAX) {
            return Err(bug("shuffle", format!("a run with a part of number {part}")));
        }
        let pieces = payload_bytes(batch).div_ceil(FRAME_BYTES).clamp(1, batch.num_rows() as u64);
        let rows = batch.num_rows().div_ceil(pieces as usize);
        for first in (0..batch.num_rows()).step_by(rows) {
            self.append_frame(part, &batch.slice(first, rows.min(batch.num_rows() - first)))?;
        }
        Ok(())
    }

    /// What was appended is a run. Nothing is waited for: a run that the system loses with its power is one of a process that is gone, too.
    pub fn finish(mut self) -> Result<Run> {
        self.write_out()?;
        Ok(Run {
            runs: Arc::clone(&self.runs),
            number: self.number,
            schema: Arc::clone(&self.schema),
            files: std::mem::take(&mut self.files),
            parts: std::mem::take(&mut self.parts),
        })
    }

    fn append_frame(&mut self, part: usize, batch: &Batch) -> Result<()> {
        let header = FrameHeader {
            job: JobId(self.number),
            epoch: Epoch(std::process::id()),
            group: GroupId(part as u16),
            sequence: Sequence(self.next_sequence),
            ..FrameHeader::default()
        };
        let offset = self.buffer.len() as u64;
        let bytes = match encode_frame(&header, batch, &mut self.buffer) {
            Ok(bytes) => bytes,
            // Rows of very different lengths: the mean has deceived us.
            Err(FrameError::TooLarge { .. }) if batch.num_rows() > 1 => {
                let half = batch.num_rows() / 2;
                self.append_frame(part, &batch.slice(0, half))?;
                return self.append_frame(part, &batch.slice(half, batch.num_rows() - half));
            }
            Err(error) => return Err(error.into()),
        };
        // The casts lose nothing: both have bounds in `frame.rs` that are below u32::MAX.
        let (bytes, rows) = (bytes as u32, batch.num_rows() as u32);
        self.waiting.push((part, Frame { sequence: self.next_sequence, offset, bytes, rows, file: 0 }));
        self.next_sequence += 1;
        if self.buffer.len() as u64 >= FRAME_BYTES { self.write_out() } else { Ok(()) }
    }

    /// Sends the buffer to the file, or to one in the next folder.
    fn write_out(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len() as u64;
        let used = self.runs.used_bytes.fetch_add(bytes, Relaxed) + bytes;
        let written = if used > self.runs.options.bytes_max {
            Err(RunError::Quota { holder: self.holder, bytes: used, max: self.runs.options.bytes_max })
        } else {
            self.write_somewhere()
        };
        if let Err(error) = written {
            self.runs.used_bytes.fetch_sub(bytes, Relaxed);
            return Err(error.into());
        }
        let Some((number, file)) = self.files.iter_mut().enumerate().last() else { return Ok(()) };
        for (part, frame) in self.waiting.drain(..) {
            if self.parts.len() <= part {
                self.parts.resize_with(part + 1, Part::default);
            }
            let part = &mut self.parts[part];
            part.rows += u64::from(frame.rows);
            part.bytes += u64::from(frame.bytes);
            part.frames.push(Frame { offset: file.bytes + frame.offset, file: number as u32, ..frame });
        }
        file.bytes += bytes;
        self.buffer.clear();
        Ok(())
    }

    fn write_somewhere(&mut self) -> Result<(), RunError> {
        let mut failure: Option<RunError> = None;
        while let Some(folder) = self.runs.options.folders.get(self.folder).cloned() {
            let Err(source) = self.write_here() else { return Ok(()) };
            self.close_file();
            // A full disk is what the user must hear of, whatever is wrong with the folders behind it.
            if failure.as_ref().is_none_or(|_| is_full(&source)) {
                failure = Some(RunError::Write { holder: self.holder, folder, source });
            }
            self.folder += 1;
        }
        Err(failure.unwrap_or(RunError::NoFolder { holder: self.holder }))
    }

    /// Writes the buffer to the file in the folder that is written to.
    fn write_here(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let place = self.runs.place(self.folder)?;
                let path = place.path(&format!("{}.{}.run", self.number, self.files.len()));
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                self.files.push(RunFile { path, bytes: 0, _place: place });
                none.insert(file)
            }
        };
        let offset = self.files.last().map_or(0, |file| file.bytes);
        write_laid(file, offset, &self.buffer)
    }

    /// Nothing more is written to the file; what stands in it beyond whole buffers goes.
    fn close_file(&mut self) {
        let Some(file) = self.file.take() else { return };
        match self.files.last() {
            Some(RunFile { path, bytes: 0, .. }) => {
                let _ = fs::remove_file(path);
                self.files.pop();
            }
            Some(RunFile { bytes, .. }) => {
                // Half a frame behind the others is never read; its room is what matters.
                let _ = file.set_len(*bytes);
            }
            None => {}
        }
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        // None, when it was finished.
        remove(&self.runs, &mut self.files);
        self.runs.keep_buffer(std::mem::take(&mut self.buffer));
    }
}
