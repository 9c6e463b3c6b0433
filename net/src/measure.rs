//! How fast bytes go between two processes: over a [`crate::Network`], over bare QUIC streams with the same settings, over
//! plain TCP.
//!
//! In: a number of bytes, and how to start this program again as the serving process. Out: bytes a second of each way, in
//! one run, with what QUIC says of the path. Never: a number from within one process, where both ends share a cache and a
//! scheduler; a setting that the network itself would not have.
//!
//! The parent makes an authority and identities in a folder, starts a child that serves one way and writes its address as
//! one line, pulls, and closes the child's input, upon which the child ends:
//!
//! ```text
//! parent: compare(bytes, rounds, |serve| Command)          child: serve(way, folder)
//!         pull ◄──────────────────────────── pieces of 1 MiB ───┘
//! ```

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    answer::Answer,
    error::NetError,
    limits::Limits,
    message::{Message, MessageKind},
    network::{Event, Network, Options},
    peer::Role,
    quic::bare,
    tls::{Authority, Identity},
};

/// Bytes of one piece, as the shuffle's frames are cut.
pub const PIECE_BYTES: usize = 1 << 20;

/// Bytes that the puller lets wait unread.
const WINDOW_BYTES: usize = 8 << 20;

/// Longer than any pause of a measurement.
const DEADLINE: Duration = Duration::from_secs(20);

const KIND: MessageKind = MessageKind(1);
const VERSION: u32 = 1;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A way of bytes between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// [`Network::ask`] and [`Answer::give`].
    Windrow,
    /// One stream of quinn with our transport settings, socket and TLS, and nothing of ours above.
    Quinn,
    /// One TCP connection, neither encrypted nor authenticated.
    Tcp,
}

impl Way {
    /// Each way once.
    pub const ALL: [Self; 3] = [Self::Windrow, Self::Quinn, Self::Tcp];
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Windrow => "windrow",
            Self::Quinn => "quinn",
            Self::Tcp => "tcp",
        })
    }
}

impl FromStr for Way {
    type Err = io::Error;

    fn from_str(word: &str) -> io::Result<Self> {
        let found = Self::ALL.into_iter().find(|way| way.to_string() == word);
        found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{word} is no way to measure")))
    }
}

/// One way, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The way.
    pub way: Way,
    /// Bytes that were pulled.
    pub bytes: u64,
    /// Seconds from the request to the last byte.
    pub seconds: f64,
    /// Largest datagram of the path, as the receiver's QUIC saw it last; 0 where not asked.
    pub datagram_bytes: u64,
}

impl Measured {
    /// Bytes a second / 10⁹.
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e9
    }
}

/// Measures each way `rounds` times in turn, so that a machine's moods fall on all alike. `child` makes the command that
/// ends in [`serve`] with the way and the folder that it is given.
///
/// # Errors
/// Of processes, sockets and the network, all as [`io::Error`].
pub fn compare(
    bytes: u64,
    rounds: usize,
    folder: &Path,
    child: impl Fn(Way, &Path) -> Command,
) -> io::Result<Vec<Measured>> {
    prepare(folder)?;
    let mut measured = Vec::new();
    for _ in 0..rounds {
        for way in Way::ALL {
            let server = Server::start(child(way, folder))?;
            measured.push(pull(way, folder, server.address, bytes)?);
        }
    }
    Ok(measured)
}

/// Writes what both processes need into `folder`: an authority, a serving and a pulling identity.
///
/// # Errors
/// If they cannot be made or written.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let authority = Authority::create("measure").map_err(io::Error::other)?;
    for (role, name) in [(Role::Worker, "serving"), (Role::Client, "pulling")] {
        let identity = authority.issue(role, name, &[], DAY).map_err(io::Error::other)?;
        let own = folder.join(name);
        std::fs::create_dir_all(&own)?;
        identity.save(&own).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Serves one way on loopback: writes its address and a line's end to standard output, and returns when standard input
/// ends. For the child process.
///
/// # Errors
/// Of sockets, files and the network.
pub fn serve(way: Way, folder: &Path) -> io::Result<()> {
    let announce = |address: SocketAddr| {
        let mut out = io::stdout();
        writeln!(out, "{address}")?;
        out.flush()
    };
    let wait = || io::copy(&mut io::stdin(), &mut io::sink()).map(drop);
    match way {
        Way::Windrow => {
            let network = Network::start(options(folder, "serving")?, |event| {
                if let Event::Asked { request, answer, .. } = event {
                    give(&request, answer);
                }
            })
            .map_err(io::Error::other)?;
            announce(network.local_address())?;
            wait()
        }
        Way::Quinn => {
            let identity = Identity::load(&folder.join("serving")).map_err(io::Error::other)?;
            let bare = bare::Server::start(&identity, &Limits::default(), piece()).map_err(io::Error::other)?;
            announce(bare.address())?;
            wait()
        }
        Way::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            announce(listener.local_addr()?)?;
            let (mut stream, _) = listener.accept()?;
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes)?;
            let piece = piece();
            let mut left = u64::from_le_bytes(bytes);
            while left > 0 {
                let length = left.min(piece.len() as u64);
                stream.write_all(&piece[..length as usize])?;
                left -= length;
            }
            wait()
        }
    }
}

/// Pulls `bytes` one way from a process that [`serve`]s.
///
/// # Errors
/// Of sockets, files and the network; also if fewer bytes came.
pub fn pull(way: Way, folder: &Path, address: SocketAddr, bytes: u64) -> io::Result<Measured> {
    let (came, seconds, datagram_bytes) = match way {
        Way::Windrow => pull_windrow(folder, address, bytes)?,
        Way::Quinn => {
            let identity = Identity::load(&folder.join("pulling")).map_err(io::Error::other)?;
            bare::pull(&identity, &Limits::default(), address, bytes).map_err(io::Error::other)?
        }
        Way::Tcp => pull_tcp(address, bytes)?,
    };
    if came != bytes {
        return Err(io::Error::other(format!("{came} of {bytes} bytes came over {way}")));
    }
    Ok(Measured { way, bytes, seconds: seconds.as_secs_f64(), datagram_bytes })
}

fn pull_windrow(folder: &Path, address: SocketAddr, bytes: u64) -> io::Result<(u64, Duration, u64)> {
    let (told, events) = std::sync::mpsc::channel();
    let network = Network::start(options(folder, "pulling")?, move |event| {
        // Whoever measures may be done already.
        let _ = told.send(event);
    })
    .map_err(io::Error::other)?;
    let link = network.link(address, Role::Worker);
    match events.recv_timeout(DEADLINE) {
        Ok(Event::Up { .. }) => {}
        other => return Err(io::Error::other(format!("the link did not come up: {other:?}"))),
    }
    let began = Instant::now();
    let mut pull = network.ask(link, KIND, bytes.to_le_bytes().to_vec(), WINDOW_BYTES);
    let mut came = 0;
    while let Some(chunk) = pull.read(DEADLINE).map_err(io::Error::other)? {
        came += chunk.len() as u64;
    }
    Ok((came, began.elapsed(), 0))
}

fn pull_tcp(address: SocketAddr, bytes: u64) -> io::Result<(u64, Duration, u64)> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0; PIECE_BYTES];
    let began = Instant::now();
    stream.write_all(&bytes.to_le_bytes())?;
    let mut came = 0;
    while came < bytes {
        match stream.read(&mut buffer)? {
            0 => break,
            count => came += count as u64,
        }
    }
    Ok((came, began.elapsed(), 0))
}

fn give(request: &Message, answer: Answer) {
    let Some(bytes) = request.payload.first_chunk() else { return answer.refuse(0, Vec::new()) };
    let (mut left, piece) = (u64::from_le_bytes(*bytes), piece());
    answer.give(std::iter::from_fn(move || {
        let length = left.min(piece.len() as u64);
        left -= length;
        (length > 0).then(|| Ok(piece.slice(..length as usize)))
    }));
}

/// Bytes that are not all alike, so that nothing on the way can make them fewer.
fn piece() -> Bytes {
    (0..PIECE_BYTES).map(|place| (place * 31 + place / 251) as u8).collect::<Vec<_>>().into()
}

fn options(folder: &Path, name: &str) -> io::Result<Options> {
    let loaded = |error: NetError| io::Error::other(error);
    Ok(Options {
        identity: Identity::load(&folder.join(name)).map_err(loaded)?,
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        limits: Limits::default(),
        program_version: VERSION,
        accepts: vec![Role::Client],
    })
}

/// The child process; ends when its input is closed.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    address: SocketAddr,
}

impl Server {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, input, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait(); // It has nothing more to tell.
    }
}
