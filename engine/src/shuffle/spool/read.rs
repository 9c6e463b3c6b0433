//! The frames of some groups of an attempt, as their producer gives them away.
//!
//! In: a held attempt, the numbers of groups. Out: frames, whole, one or several at a time: those in memory first, then
//! those of each file. Never: a frame of a file that was not checked; more of a file mapped than a window, or one frame
//! that is longer.
//!
//! ```text
//!   file  │ group 3: frame │ frame │ frame │ group 4 …
//!         ◄──────── window ───────────►        mapped where a frame begins; what is whole in it is given as one piece,
//!                          ◄──────── window ── and the next window begins behind
//! ```
//! Between the disk and here a bit may have flipped: head and payload are compared with their checksums, and the
//! numbers in the head with the attempt and the group, so that the error can say which file is damaged, and where.
//! Whoever gets a frame checks it once more, for what happened on the way. A damaged attempt is held no longer: who
//! needs it makes it again.
//!
//! Mapped pages are the system's, which takes them back when it needs them: they count in nobody's memory.

use std::{fs::File, io, sync::Arc, vec::IntoIter};

use bytes::Bytes;

use super::{Held, SpoolError, lock};
use crate::{
    error::Result,
    memory::map_window,
    shuffle::{
        frame::{FRAME_PREFIX_BYTES, FrameError, FrameLimits, check_frame, frame_bytes},
        numbers::{AttemptKey, GroupId, GroupTotal},
    },
};

/// So much of a file is mapped at once: two frames of the largest usual size.
const WINDOW_BYTES: u64 = 2 << 20;

/// See above.
pub struct Frames {
    held: Arc<Held>,
    key: AttemptKey,
    memory: IntoIter<Bytes>,
    /// Which file is read, and which of the wanted groups in it.
    file: usize,
    group: usize,
    wanted: Vec<usize>,
    open: Option<File>,
    /// What was given of the group.
    given: GroupTotal,
    is_over: bool,
}

impl Frames {
    pub(super) fn new(held: Arc<Held>, key: AttemptKey, groups: &[GroupId]) -> Frames {
        let wanted: Vec<usize> = groups.iter().map(|group| usize::from(group.0)).collect();
        let frames = wanted.iter().filter_map(|group| held.memory.get(*group)).flatten();
        let memory: Vec<Bytes> = frames.map(|frame| frame.bytes.clone()).collect();
        let given = GroupTotal::default();
        let memory = memory.into_iter();
        Frames { held, key, memory, file: 0, group: 0, wanted, open: None, given, is_over: false }
    }

    /// The next frames of the files.
    fn next_of_files(&mut self) -> Result<Option<Bytes>> {
        loop {
            let held = Arc::clone(&self.held);
            let Some(file) = held.files.get(self.file) else { return Ok(None) };
            let place = self.wanted.get(self.group).map(|group| file.groups().get(*group).copied().unwrap_or_default());
            let Some(place) = place else {
                (self.file, self.group, self.open) = (self.file + 1, 0, None);
                continue;
            };
            if self.given.bytes < place.bytes {
                let (offset, end) = (place.offset + self.given.bytes, place.offset + place.bytes);
                return self.window(offset, end).map(Some);
            }
            let (given, total) = (self.given, place.total());
            if (given.rows, given.frames, given.hash_sum) != (total.rows, total.frames, total.hash_sum) {
                let (path, offset) = (file.path().to_owned(), place.offset);
                let what = "the frames of a group are not those that its index counts";
                return Err(SpoolError::Strange { path, offset, what }.into());
            }
            (self.group, self.given) = (self.group + 1, GroupTotal::default());
        }
    }

    /// The frames that stand whole in a window from `offset` on, at least one; `end` is where the group ends.
    fn window(&mut self, offset: u64, end: u64) -> Result<Bytes> {
        let mut window = self.map(offset, WINDOW_BYTES.min(end - offset))?;
        let mut whole = 0;
        loop {
            let at = offset + whole as u64;
            let rest = &window[whole..];
            if rest.is_empty() || (whole > 0 && rest.len() < FRAME_PREFIX_BYTES) {
                break;
            }
            let bytes = frame_bytes(rest, &FrameLimits::default()).map_err(|source| self.damaged(at, source))?;
            if bytes as u64 > end - at {
                let (expected_bytes, found_bytes) = (bytes, (end - at) as usize);
                return Err(self.damaged(at, FrameError::Length { expected_bytes, found_bytes }).into());
            }
            if bytes > rest.len() {
                if whole > 0 {
                    break;
                }
                // Longer than a window: one of its own.
                window = self.map(offset, bytes as u64)?;
                continue;
            }
            self.count(&window[whole..whole + bytes], at)?;
            whole += bytes;
        }
        Ok(window.slice(..whole))
    }

    /// Checks a frame and counts it.
    fn count(&mut self, frame: &[u8], at: u64) -> Result<()> {
        let head = check_frame(frame, &FrameLimits::default()).map_err(|source| self.damaged(at, source))?;
        let header = head.header;
        let key = AttemptKey { job: header.job, stage: header.stage, task: header.task, attempt: header.attempt };
        if key != self.key || self.wanted.get(self.group) != Some(&usize::from(header.group.0)) {
            let path = self.held.files[self.file].path().to_owned();
            return Err(SpoolError::Strange { path, offset: at, what: "the frame there is another one" }.into());
        }
        let (rows, bytes) = (head.rows as u64, frame.len() as u64);
        self.given.add(&GroupTotal { rows, bytes, frames: 1, hash_sum: header.hash_sum });
        Ok(())
    }

    fn map(&mut self, offset: u64, bytes: u64) -> Result<Bytes> {
        let path = self.held.files[self.file].path();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => SpoolError::Cut { path: path.to_owned(), offset },
            _ => SpoolError::Read { path: path.to_owned(), offset, source },
        };
        let open = match self.open.take() {
            Some(open) => open,
            None => File::open(path).map_err(failed)?,
        };
        let mapped = map_window(&open, offset, bytes as usize).map_err(failed)?;
        self.open = Some(open);
        Ok(mapped)
    }

    fn damaged(&self, offset: u64, source: FrameError) -> SpoolError {
        SpoolError::Damaged { path: self.held.files[self.file].path().to_owned(), offset, source }
    }
}

impl Iterator for Frames {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        if let Some(frame) = self.memory.next() {
            return Some(Ok(frame));
        }
        if self.is_over {
            return None;
        }
        let next = self.next_of_files();
        self.is_over = !matches!(next, Ok(Some(_)));
        if next.is_err() {
            let spool = Arc::clone(&self.held.spool);
            let mut all = lock(&spool.held);
            // Unless another one has taken its place.
            let dropped = if all.get(&self.key).is_some_and(|held| Arc::ptr_eq(held, &self.held)) {
                all.remove(&self.key)
            } else {
                None
            };
            drop(all);
            drop(dropped);
        }
        next.transpose()
    }
}
