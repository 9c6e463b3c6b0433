//! Reading a part of a run: windows of its file are mapped, frames are viewed where they lie.
//!
//! In: a run and the number of a part. Out: its batches, in the order of writing; a batch keeps its window alive. Never: a frame that is
//! not the one which the run's own list says.
//!
//! ```text
//!   file    │ frame │ frame │ frame │ …           a window: frames of the part side by side, up to 1 MiB, one at least
//!             ◄─ window ─►  ◄─ ahead ─►           `ahead` is mapped and asked for while `window` is worked on
//! ```
//! Mapped pages are the system's: it takes them back when it needs them. So a reader counts as nothing in the budget; the arrays that an
//! operator makes of a batch do.

use std::{fs::File, io, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Frame, Run, RunError};
use crate::{
    batch::{Batch, buffer::Buffer},
    error::Result,
    memory::map_window,
    shuffle::{
        frame::{FrameLimits, decode_frame},
        numbers::{GroupId, JobId, Sequence},
    },
};

/// Frames that stand side by side are mapped together up to this.
const WINDOW_BYTES: u64 = 1 << 20;

/// The batches of a part, one after the other.
pub struct RunReader {
    run: Arc<Run>,
    part: usize,
    /// The frame that comes next.
    next: usize,
    window: Option<Window>,
    ahead: Option<Window>,
    /// The file that was mapped last.
    file: Option<(u32, File)>,
}

/// Frames of the part that stand side by side, mapped.
struct Window {
    frames: Range<usize>,
    offset: u64,
    bytes: Bytes,
}

impl RunReader {
    pub(super) fn new(run: &Arc<Run>, part: usize) -> RunReader {
        RunReader { run: Arc::clone(run), part, next: 0, window: None, ahead: None, file: None }
    }

    /// The next batch; none when all were given.
    #[allow(clippy::should_implement_trait, reason = "an iterator of results invites to go on after an error")]
    pub fn next(&mut self) -> Result<Option<Batch>> {
        let run = Arc::clone(&self.run);
        let frames = run.parts.get(self.part).map_or(&[][..], |part| &part.frames);
        let Some(frame) = frames.get(self.next) else { return Ok(None) };
        let is_here = |window: &Window| window.frames.contains(&self.next);
        let window = match self.window.take().filter(is_here) {
            Some(window) => window,
            None => {
                let window = match self.ahead.take().filter(is_here) {
                    Some(window) => window,
                    None => self.map(frames, self.next)?,
                };
                if window.frames.end < frames.len() {
                    self.ahead = Some(self.map(frames, window.frames.end)?);
                }
                window
            }
        };
        let first = (frame.offset - window.offset) as usize;
        let bytes = window.bytes.slice(first..first + frame.bytes as usize);
        self.window = Some(window);
        let place = || (run.files[frame.file as usize].path.clone(), frame.offset);
        let (header, batch) =
            decode_frame(Buffer::from(bytes), &run.schema, &FrameLimits::default()).map_err(|source| {
                let (path, offset) = place();
                RunError::Damaged { path, offset, source }
            })?;
        let found = (header.job, header.group, header.sequence, batch.num_rows());
        if found != (JobId(run.number), GroupId(self.part as u16), Sequence(frame.sequence), frame.rows as usize) {
            let (path, offset) = place();
            return Err(RunError::Other { path, offset }.into());
        }
        self.next += 1;
        Ok(Some(batch))
    }

    /// Rows that have not been given yet.
    pub fn rows_left(&self) -> u64 {
        let frames = self.run.parts.get(self.part).map_or(&[][..], |part| &part.frames[self.next..]);
        frames.iter().map(|frame| u64::from(frame.rows)).sum()
    }

    /// Maps the frames from `first` on that stand side by side.
    fn map(&mut self, frames: &[Frame], first: usize) -> Result<Window> {
        let Frame { file, offset, .. } = frames[first];
        let (mut last, mut end) = (first, offset);
        while let Some(frame) = frames.get(last)
            && frame.file == file
            && frame.offset == end
            && (last == first || end + u64::from(frame.bytes) - offset <= WINDOW_BYTES)
        {
            end += u64::from(frame.bytes);
            last += 1;
        }
        let path = &self.run.files[file as usize].path;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => RunError::Cut { path: path.clone(), offset },
            _ => RunError::Read { path: path.clone(), offset, source },
        };
        let open = match self.file.take() {
            Some((number, open)) if number == file => open,
            _ => File::open(path).map_err(failed)?,
        };
        let bytes = map_window(&open, offset, (end - offset) as usize).map_err(failed)?;
        self.file = Some((file, open));
        Ok(Window { frames: first..last, offset, bytes })
    }
}
