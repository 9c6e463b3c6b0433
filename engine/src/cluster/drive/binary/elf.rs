//! What a program's file says about itself: for which machine it is, where what it runs with ends, which libc it needs.
//!
//! In: a file in the Executable and Linkable Format (System V ABI, chapters 4 and 5; symbol versions: LSB Core, 10.7). Out: [`Elf`]. Never:
//! a judgement about what it cannot read: then the system's loader says what is wrong.
//!
//! ```text
//!   header │ program headers │ segments: all that is loaded … │ symbols, debug sections, section headers
//!                                                             └ end: from here on nothing is needed to run
//! ```

use std::{fmt, fs::File, io, os::unix::fs::FileExt};

/// The header of a 64-bit file; that of a 32-bit file is shorter, and begins alike.
pub const HEADER_BYTES: usize = 64;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// Most program headers: a linker writes some ten.
const SEGMENTS_MAX: u16 = 512;
/// Most versions that a program asks for, over all its libraries: a large one asks for some fifty.
const VERSIONS_MAX: usize = 4096;
/// Longest dynamic section or list of versions that is read, and longest name of a version.
const TABLE_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 64;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRINGS: u64 = 5;
const VERSIONS_NEEDED: u64 = 0x6fff_fffe;

/// For which machine a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    class: u8,
    order: u8,
    number: u16,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.number {
            3 => "x86",
            8 => "mips",
            20 => "ppc",
            21 => "ppc64",
            22 => "s390x",
            40 => "arm",
            62 => "x86-64",
            183 => "aarch64",
            243 => "riscv",
            258 => "loongarch",
            _ => "a machine unknown here",
        };
        let bits = if self.class == CLASS_64 { 64 } else { 32 };
        write!(f, "{name} ({bits} bits, ELF machine {})", self.number)
    }
}

/// The version of a GNU libc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Libc(pub u32, pub u32);

impl Libc {
    /// Of a text that begins with `2.36`.
    pub fn parse(text: &[u8]) -> Option<Libc> {
        let number = |bytes: &[u8]| {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(&bytes[..digits]).ok()?.parse::<u32>().ok()
        };
        let dot = text.iter().position(|byte| *byte == b'.')?;
        Some(Libc(number(&text[..dot])?, number(&text[dot + 1..])?))
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A file that is a program.
pub struct Elf<'a> {
    file: &'a File,
    pub machine: Machine,
    /// None of a file whose numbers are of another width or order than ours.
    segments: Option<Vec<Segment>>,
    headers_end: u64,
}

struct Segment {
    kind: u32,
    at: u64,
    address: u64,
    bytes: u64,
}

impl<'a> Elf<'a> {
    /// What the file says; none if it is no such file.
    pub fn read(file: &'a File) -> io::Result<Option<Elf<'a>>> {
        let mut head = [0; HEADER_BYTES];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if !head.starts_with(MAGIC) {
            return Ok(None);
        }
        let (class, order) = (head[4], head[5]);
        let number = [head[18], head[19]];
        let number = if order == LITTLE_ENDIAN { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
        let mut elf =
            Elf { file, machine: Machine { class, order, number }, segments: None, headers_end: HEADER_BYTES as u64 };
        if class != CLASS_64 || order != LITTLE_ENDIAN {
            return Ok(Some(elf));
        }
        let (at, each, count) = (u64_at(&head, 32), u16_at(&head, 54), u16_at(&head, 56));
        if each < 56 || count > SEGMENTS_MAX {
            return Ok(Some(elf));
        }
        let mut table = vec![0; usize::from(each) * usize::from(count)];
        file.read_exact_at(&mut table, at)?;
        elf.headers_end = elf.headers_end.max(at.saturating_add(table.len() as u64));
        let segment = |entry: &[u8]| Segment {
            kind: u32_at(entry, 0),
            at: u64_at(entry, 8),
            address: u64_at(entry, 16),
            bytes: u64_at(entry, 32),
        };
        elf.segments = Some(table.chunks_exact(usize::from(each)).map(segment).collect());
        Ok(Some(elf))
    }

    /// Where what it runs with ends; none where that cannot be told.
    pub fn end(&self) -> Option<u64> {
        let ends = self.segments.as_ref()?.iter().map(|segment| segment.at.saturating_add(segment.bytes));
        Some(ends.fold(self.headers_end, u64::max))
    }

    /// The highest version of a GNU libc that it asks the loader for; none if it asks for none.
    pub fn needed_libc(&self) -> Option<Libc> {
        let segments = self.segments.as_ref()?;
        let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
        let table = self.bytes(dynamic.at, dynamic.bytes.min(TABLE_BYTES_MAX) as usize)?;
        let entry = |wanted: u64| {
            let mut entries = table.chunks_exact(16).map(|entry| (u64_at(entry, 0), u64_at(entry, 8)));
            entries.find(|(tag, _)| *tag == wanted).map(|(_, value)| value)
        };
        let (needed, _) = self.place(entry(VERSIONS_NEEDED)?)?;
        let (strings, room) = self.place(entry(STRINGS)?)?;
        let (mut highest, mut seen) = (None, 0);
        // A file, whose versions hang at it: both are lists, each entry saying how far the next one is.
        let mut file_at = needed;
        loop {
            let file = self.bytes(file_at, 16)?;
            let mut version_at = file_at.checked_add(u64::from(u32_at(&file, 8)))?;
            loop {
                let version = self.bytes(version_at, 16)?;
                let name = u64::from(u32_at(&version, 8));
                seen += 1;
                if seen > VERSIONS_MAX {
                    return None;
                }
                if name < room {
                    let name = self.bytes(strings + name, NAME_BYTES_MAX.min((room - name) as usize))?;
                    let libc = name.strip_prefix(b"GLIBC_").and_then(Libc::parse);
                    highest = highest.max(libc);
                }
                match u32_at(&version, 12) {
                    0 => break,
                    next => version_at = ahead(version_at, next, needed)?,
                }
            }
            match u32_at(&file, 12) {
                0 => return highest,
                next => file_at = ahead(file_at, next, needed)?,
            }
        }
    }

    /// Where an address of the loaded program lies in the file, and how many bytes of the segment follow it.
    fn place(&self, address: u64) -> Option<(u64, u64)> {
        let segments = self.segments.as_ref()?.iter().filter(|segment| segment.kind == LOAD);
        let mut holding = segments.filter_map(|segment| {
            let into = address.checked_sub(segment.address).filter(|into| *into < segment.bytes)?;
            Some((segment.at.checked_add(into)?, segment.bytes - into))
        });
        holding.next()
    }

    fn bytes(&self, at: u64, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

/// The next entry of a list, which ends within its bound: a file may say anything.
fn ahead(at: u64, next: u32, begin: u64) -> Option<u64> {
    at.checked_add(u64::from(next)).filter(|at| at - begin < TABLE_BYTES_MAX)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

/// The machine that this process runs on, and the libc that it runs with.
pub struct Here {
    machine: Option<Machine>,
    libc: Option<Libc>,
}

impl Here {
    /// By this process's own file, and the libc among what is mapped into it; what cannot be found out is not judged by.
    pub fn look() -> Here {
        let own = File::open("/proc/self/exe").ok();
        let machine = own.and_then(|own| Some(Elf::read(&own).ok()??.machine));
        Here { machine, libc: own_libc() }
    }

    /// Says why this machine cannot run a program that this file would be.
    pub fn refuses(&self, elf: &Elf<'_>) -> Option<Refused> {
        if let Some(here) = self.machine.filter(|here| *here != elf.machine) {
            return Some(Refused::Machine { needs: elf.machine, here });
        }
        let (needs, here) = (elf.needed_libc()?, self.libc?);
        (needs > here).then_some(Refused::Libc { needs, here })
    }
}

/// Why a machine cannot run a program.
pub enum Refused {
    Machine { needs: Machine, here: Machine },
    Libc { needs: Libc, here: Libc },
}

/// A GNU libc says its version in a sentence among its constants.
fn own_libc() -> Option<Libc> {
    const SENTENCE: &[u8] = b"release version ";
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().filter_map(|line| Some(&line[line.find('/')?..])).find(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name == "libc.so.6" || (name.starts_with("libc-2.") && name.ends_with(".so"))
    })?;
    let bytes = std::fs::read(path).ok()?;
    let gnu = memchr::memmem::find(&bytes, b"GNU C Library")?;
    let says = memchr::memmem::find(&bytes[gnu..], SENTENCE)?;
    Libc::parse(&bytes[gnu + says + SENTENCE.len()..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn this_program_runs_here_by_what_it_says() {
        let own = File::open("/proc/self/exe").unwrap();
        let elf = Elf::read(&own).unwrap().unwrap();
        let here = Here::look();
        assert_eq!(here.machine, Some(elf.machine));
        assert!(here.refuses(&elf).is_none());
        // Tests are linked with the system's libc.
        let needs = elf.needed_libc().unwrap();
        assert!(needs > Libc(2, 2) && Some(needs) <= here.libc, "{needs} is needed, {:?} is here", here.libc);
        let (end, all) = (elf.end().unwrap(), own.metadata().unwrap().len());
        assert!(end > 1 << 20 && end <= all, "{end} of {all} bytes");
    }

    #[test]
    fn what_is_no_program_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for bytes in
            [&b""[..], b"\x7fELF", b"#!/bin/sh\necho this is a script, which is longer than a header of a program is\n"]
        {
            std::fs::write(&path, bytes).unwrap();
            assert!(Elf::read(&File::open(&path).unwrap()).unwrap().is_none());
        }
    }

    #[test]
    fn a_damaged_program_is_read_without_harm() {
        let folder = tempfile::tempdir().unwrap();
        let (path, own) = (folder.path().join("file"), std::fs::read("/proc/self/exe").unwrap());
        // Its headers and the tables that follow them, each byte in turn.
        let head = &own[..own.len().min(1 << 14)];
        for at in 0..head.len().min(1024) {
            let mut bytes = head.to_vec();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let file = File::open(&path).unwrap();
            if let Ok(Some(elf)) = Elf::read(&file) {
                let _ = (elf.end(), elf.needed_libc());
            }
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(Libc::parse(b"2.36."), Some(Libc(2, 36)));
        assert_eq!(Libc::parse(b"2.2.5\0"), Some(Libc(2, 2)));
        assert_eq!(Libc::parse(b"PRIVATE\0"), None);
        assert_eq!(Libc::parse(b"ABI_DT_RELR\0"), None);
        assert!(Libc(2, 9) < Libc(2, 36));
    }
}
