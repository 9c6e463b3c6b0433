//! One QUIC stream with our settings and nothing of ours above it: what a [`crate::Network`] is measured against.
//!
//! In: an identity, a piece, how many bytes. Out: the time they took. Never: used by anything but `measure.rs`.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{Connection, Endpoint, TokioRuntime};
use tokio::runtime::{Builder, Runtime};

use super::{SERVER_NAME, congestion::Leaving, quic_client, quic_server, socket, transport};
use crate::{
    error::NetError,
    limits::Limits,
    tls::{Credentials, Identity, Verdict},
};

/// Bytes of the request: how many are wanted.
const REQUEST_BYTES: usize = 8;

/// Chunks that are read at once, as `bulk.rs` does.
const CHUNKS: usize = 64;

/// Serves on a thread of its own until the process ends.
pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(identity: &Identity, limits: &Limits, piece: Bytes) -> Result<Self, NetError> {
        let (runtime, endpoint, address) = open(identity, limits)?;
        thread::spawn(move || {
            runtime.block_on(async {
                while let Some(incoming) = endpoint.accept().await {
                    if let Ok(connection) = incoming.await {
                        tokio::spawn(give(connection, piece.clone()));
                    }
                }
            });
        });
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn give(connection: Connection, piece: Bytes) {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    let mut request = [0; REQUEST_BYTES];
    if recv.read_exact(&mut request).await.is_err() {
        return;
    }
    let mut left = u64::from_le_bytes(request);
    while left > 0 {
        let length = left.min(piece.len() as u64);
        if send.write_chunk(piece.slice(..length as usize)).await.is_err() {
            return;
        }
        left -= length;
    }
    let _ = send.finish(); // Whoever measures sees that bytes are missing.
    connection.closed().await;
}

/// Pulls `bytes`: how many came, how long it took, and the path's largest datagram.
pub(crate) fn pull(
    identity: &Identity,
    limits: &Limits,
    address: SocketAddr,
    bytes: u64,
) -> Result<(u64, Duration, u64), NetError> {
    let (runtime, endpoint, _) = open(identity, limits)?;
    let lost = |detail: String| NetError::Lost { address, detail };
    let mut config = quic_client(&Credentials::of(identity)?, &Verdict::default())?;
    config.transport_config(transport::transport(limits, address, &Leaving::default())?);
    runtime.block_on(async {
        let connecting =
            endpoint.connect_with(config, address, SERVER_NAME).map_err(|error| lost(error.to_string()))?;
        let connection = connecting.await.map_err(|error| lost(error.to_string()))?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(error.to_string()))?;
        let began = Instant::now();
        send.write_all(&bytes.to_le_bytes()).await.map_err(|error| lost(error.to_string()))?;
        let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        let mut came = 0;
        while let Some(count) = recv.read_chunks(&mut chunks).await.map_err(|error| lost(error.to_string()))? {
            came += chunks[..count].iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        }
        let took = began.elapsed();
        connection.close(0u32.into(), &[]);
        endpoint.wait_idle().await;
        Ok((came, took, connection.stats().path.current_mtu.into()))
    })
}

fn open(identity: &Identity, limits: &Limits) -> Result<(Runtime, Endpoint, SocketAddr), NetError> {
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let failed = |error: std::io::Error| NetError::Start {
        tried: "open a bare QUIC endpoint",
        address: bind,
        detail: error.to_string(),
    };
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let context = runtime.enter();
    let socket = socket::wrap(socket::bind(bind, limits.socket_bytes).map_err(failed)?).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    let tls = quic_server(&Credentials::of(identity)?, &Verdict::default())?;
    let server = transport::server(limits, transport::transport(limits, address, &Leaving::default())?, tls);
    let endpoint =
        Endpoint::new_with_abstract_socket(transport::endpoint()?, Some(server), socket, Arc::new(TokioRuntime))
            .map_err(failed)?;
    drop(context);
    Ok((runtime, endpoint, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Role};

    /// Without the cutting of runs in `socket.rs` every run of large datagrams is lost, QUIC takes the path for a black
    /// hole and goes back to small ones.
    #[test]
    fn large_datagrams_are_not_lost_on_loopback() {
        let day = Duration::from_secs(24 * 3600);
        let authority = Authority::create("field").unwrap();
        let identity = |name| authority.issue(Role::Worker, name, &[], day).unwrap();
        let limits = Limits::default();
        let server = Server::start(&identity("serving"), &limits, Bytes::from(vec![7; 1 << 20])).unwrap();
        let bytes = 64 << 20;
        let (came, _, datagram) = pull(&identity("pulling"), &limits, server.address(), bytes).unwrap();
        assert_eq!(came, bytes);
        assert_eq!(datagram, u64::from(limits.local_datagram_bytes));
    }
}
