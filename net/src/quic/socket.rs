//! The UDP socket below QUIC: buffers of a size that a fast peer cannot overrun, sends of a size that the kernel takes.
//!
//! In: datagrams and runs of datagrams of QUIC. Out: the same to and from the kernel. Never: a run over 64 KiB in one call.
//!
//! QUIC hands over up to ten datagrams of one size in one call (segmentation offload). The kernel refuses a call with more
//! than 64 KiB in all (`EMSGSIZE`), and quinn-udp takes that answer for a probe of a path's size that did not fit, and says
//! nothing: all ten datagrams are lost, each time. So at more than 6,550 bytes a datagram nearly everything would be lost.
//! Here such a run is cut into several calls. (`README.md` beside this file has the measurements.)

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use crate::limits::DATAGRAM_BYTES_MAX;

/// A bound socket with buffers of `bytes`, or as much as the system grants.
pub(super) fn bind(address: SocketAddr, bytes: usize) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // Less than asked is slower, not wrong: the kernel cuts at net.core.rmem_max and wmem_max without a word.
    socket.set_recv_buffer_size(bytes)?;
    socket.set_send_buffer_size(bytes)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket of the tokio runtime in whose context this is called.
pub(super) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(Socket { inner: TokioRuntime.wrap_udp_socket(socket)? }))
}

#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(segment) = transmit.segment_size.filter(|_| transmit.contents.len() > DATAGRAM_BYTES_MAX) else {
            return self.inner.try_send(transmit);
        };
        let run = DATAGRAM_BYTES_MAX / segment * segment;
        for contents in transmit.contents.chunks(run.max(segment)) {
            // Should the socket fill up in between, all is sent again: QUIC drops what comes twice.
            self.inner.try_send(&Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: transmit.src_ip,
            })?;
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(context, buffers, metas)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    /// quinn sizes its receive buffer by this, times the largest datagram. What the kernel joins (receive offload) is no
    /// larger than the largest datagram, so one is enough, and 2 MiB instead of 128.
    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
