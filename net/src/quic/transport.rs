//! QUIC's own settings, derived from our limits.
//!
//! In: [`Limits`]. Out: quinn's configurations. Never: a number of its own, unless its reason stands beside it here or in
//! `README.md`.

use std::{net::SocketAddr, sync::Arc};

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

use super::congestion::Leaving;
use crate::{
    error::NetError,
    limits::{DATAGRAM_BYTES_MAX, Limits},
};

/// Settings of the one connection of a link to `address`.
pub(super) fn transport(
    limits: &Limits,
    address: SocketAddr,
    leaving: &Leaving,
) -> Result<Arc<TransportConfig>, NetError> {
    let too_large = |_| NetError::Limits { rule: "times and windows are below 2^62" };
    let is_local = address.ip().to_canonical().is_loopback();
    let mut datagrams = MtuDiscoveryConfig::default();
    datagrams.upper_bound(if is_local { limits.local_datagram_bytes } else { limits.datagram_bytes });
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(Some(datagrams))
        .congestion_controller_factory(leaving.controllers())
        .max_idle_timeout(Some(IdleTimeout::try_from(limits.idle).map_err(too_large)?))
        .keep_alive_interval(Some(limits.keep_alive))
        .stream_receive_window(limits.stream_window_bytes.into())
        .receive_window(VarInt::from_u64(limits.link_window_bytes()).map_err(too_large)?)
        .send_window(limits.send_window_bytes)
        .max_concurrent_bidi_streams(limits.bulk_streams_max.into())
        .max_concurrent_uni_streams(1u32.into()) // The control stream.
        .datagram_receive_buffer_size(None) // No datagrams of our own.
        .send_fairness(false); // A stream at a time: its frames are larger, and its reader is done sooner.
    Ok(Arc::new(config))
}

/// Settings of the endpoint; its keys are new with each start.
pub(super) fn endpoint() -> Result<EndpointConfig, NetError> {
    let mut config = EndpointConfig::default();
    let largest = DATAGRAM_BYTES_MAX as u16;
    config.max_udp_payload_size(largest).map_err(|_| NetError::Limits { rule: "a datagram is of UDP's size" })?;
    Ok(config)
}

/// Settings for peers that connect to us; the TLS of each connection takes the place of `crypto`.
pub(super) fn server(
    limits: &Limits,
    transport: Arc<TransportConfig>,
    crypto: Arc<dyn quinn::crypto::ServerConfig>,
) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(transport)
        .migration(false)
        .max_incoming(limits.handshakes_max)
        .incoming_buffer_size(limits.incoming_bytes)
        .incoming_buffer_size_total(limits.incoming_bytes_total);
    config
}
