//! A peer that does not keep to the protocol: a bare QUIC client, with or without a certificate.
//!
//! In: an identity or none, an address. Out: a connection to do with as one likes. Never: what `windrow_net` itself does.

#![allow(clippy::unwrap_used, clippy::expect_used)] // As in `support/mod.rs`.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use quinn::{Connection, Endpoint, crypto::rustls::QuicClientConfig};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};
use windrow_net::Identity;

/// A client with a runtime on a thread of its own.
pub struct Stranger {
    pub runtime: Handle,
    endpoint: Endpoint,
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.die();
    }
}

impl Stranger {
    pub fn new(identity: Option<&Identity>, protocol: &[u8]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let folder = tempfile::tempdir().unwrap();
                identity.save(folder.path()).unwrap();
                let chain = CertificateDer::from_pem_file(folder.path().join("identity.pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(folder.path().join("identity.key")).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        endpoint.set_default_client_config(config);
        drop(_context);
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        Self { runtime: handle, endpoint, thread: Some((stop, thread)) }
    }

    /// Ends the runtime, and with it every packet, without a word to anyone.
    pub fn die(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }

    pub fn connect(&self, address: SocketAddr) -> Result<Connection, quinn::ConnectionError> {
        self.runtime.block_on(async { self.endpoint.connect(address, "anyone").unwrap().await })
    }

    /// Opens the control stream and sends these bytes on it; it stays open with the connection.
    pub fn say(&self, connection: &Connection, bytes: &[u8]) -> quinn::SendStream {
        self.runtime.block_on(async {
            let mut stream = connection.open_uni().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        })
    }

    /// Runs until the other side closes the connection.
    pub fn closed(&self, connection: &Connection) -> quinn::ConnectionError {
        self.runtime
            .block_on(async { tokio::time::timeout(super::LONG, connection.closed()).await })
            .expect("the connection was not closed")
    }
}

/// The hello of `version`, written down byte by byte from the drawing in `endpoint.rs`.
pub fn hello(version: u32) -> Vec<u8> {
    let mut bytes = b"WNDH".to_vec();
    bytes.extend(version.to_le_bytes());
    let checksum = twox_hash::XxHash3_64::oneshot(&bytes) as u32;
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Trusts everyone.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
