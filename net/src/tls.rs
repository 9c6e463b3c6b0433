//! Certificates and what they prove: the cluster's authority, a peer's identity, and TLS set up from both.
//!
//! In: names, PEM files. Out: [`Authority`], [`Identity`], and rustls configurations that speak TLS 1.3 only, show our
//! certificate, demand the peer's, and accept no other authority than the cluster's. Never: a key in a log (`Debug` omits
//! it), a key file that others may read, early data, a session taken up again without its certificates.
//!
//! Each connection gets its own configuration with its own [`Verdict`], a slot into which the verifier writes why it said
//! no: QUIC's errors carry a sentence only, and an error should keep its type. Roles are not judged here but in
//! `endpoint.rs`, after the handshake and before the first byte of a stream is read, so that both sides get a reason.

use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName as SubjectName, Error as TlsError,
    RootCertStore, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject};

use crate::{
    error::{CertificateFlaw, NetError},
    peer::{Peer, Role, cluster_of, cluster_uri, is_name},
};

/// The protocol that both sides name in the handshake (ALPN): nobody else's traffic gets past it.
const PROTOCOL: &[u8] = b"windrow/1";

/// How long an authority's own certificate holds.
const AUTHORITY_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A certificate is valid from this long before it was made, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The files of an authority and of an identity in their folders.
const AUTHORITY_FILE: &str = "authority.pem";
const AUTHORITY_KEY_FILE: &str = "authority.key";
const IDENTITY_FILE: &str = "identity.pem";
const IDENTITY_KEY_FILE: &str = "identity.key";

/// A cluster's own certificate authority: who holds its key says who belongs to the cluster.
pub struct Authority {
    cluster: String,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority, with a new key, for a cluster.
    ///
    /// # Errors
    /// [`NetError::Name`], [`NetError::Certify`].
    pub fn create(cluster: &str) -> Result<Self, NetError> {
        let key = KeyPair::generate().map_err(certify("make the authority's key"))?;
        let params = authority_params(cluster)?;
        let certificate = params.self_signed(&key).map_err(certify("sign the authority's certificate"))?;
        Ok(Self {
            cluster: cluster.to_owned(),
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes `authority.pem` and `authority.key` into `folder`, readable by their owner only.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), NetError> {
        write_secret(&folder.join(AUTHORITY_FILE), &self.certificate_pem)?;
        write_secret(&folder.join(AUTHORITY_KEY_FILE), &self.issuer.key().serialize_pem())
    }

    /// Reads what [`Authority::save`] wrote.
    ///
    /// # Errors
    /// [`NetError::File`], [`NetError::KeyIsOpen`].
    pub fn load(folder: &Path) -> Result<Self, NetError> {
        let path = folder.join(AUTHORITY_FILE);
        let certificate_pem = read(&path)?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| NetError::File { tried: "read", path: path.clone(), detail: error.to_string() })?;
        let cluster = uri_of(&certificate, |uri| cluster_of(uri).map(str::to_owned)).ok_or_else(|| NetError::File {
            tried: "read",
            path,
            detail: "it names no cluster as windrow://cluster".to_owned(),
        })?;
        let key_path = folder.join(AUTHORITY_KEY_FILE);
        let key = KeyPair::from_pem(&read_secret(&key_path)?).map_err(|error| NetError::File {
            tried: "read",
            path: key_path,
            detail: error.to_string(),
        })?;
        Ok(Self { issuer: Issuer::new(authority_params(&cluster)?, key), cluster, certificate, certificate_pem })
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// A new key and a certificate for it, valid from now (less five minutes for clocks that are behind) for `valid`.
    ///
    /// `hosts` (names and addresses) stand in the certificate for other software that checks them; links of this crate go
    /// by the role, the cluster and, if the caller compares it, the peer's name.
    ///
    /// # Errors
    /// [`NetError::Name`], [`NetError::Certify`].
    pub fn issue(&self, role: Role, name: &str, hosts: &[&str], valid: Duration) -> Result<Identity, NetError> {
        let now = SystemTime::now();
        self.issue_between(role, name, hosts, now - CLOCK_SKEW, now + valid)
    }

    /// As [`Authority::issue`], with both ends of its time.
    ///
    /// # Errors
    /// [`NetError::Name`], [`NetError::Certify`].
    pub fn issue_between(
        &self,
        role: Role,
        name: &str,
        hosts: &[&str],
        from: SystemTime,
        until: SystemTime,
    ) -> Result<Identity, NetError> {
        if !is_name(name) {
            return Err(NetError::Name { what: "peer", name: name.to_owned() });
        }
        let peer = Peer { cluster: self.cluster.clone(), role, name: name.to_owned() };
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).map_err(certify("name a certificate's hosts"))?;
        params.subject_alt_names.push(uri_name(peer.uri())?);
        params.distinguished_name = common_name(&peer.to_string());
        params.not_before = from.into();
        params.not_after = until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(certify("make a peer's key"))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(certify("sign a peer's certificate"))?;
        Ok(Identity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            trusted: vec![self.certificate.clone()],
            trusted_pem: self.certificate_pem.clone(),
            peer,
        })
    }
}

/// What a peer shows of itself (certificate and key) and whom it trusts (the cluster's authority).
pub struct Identity {
    peer: Peer,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// More than one while an authority is replaced by the next.
    trusted: Vec<CertificateDer<'static>>,
    chain_pem: String,
    key_pem: String,
    trusted_pem: String,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            peer: self.peer.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            trusted: self.trusted.clone(),
            chain_pem: self.chain_pem.clone(),
            key_pem: self.key_pem.clone(),
            trusted_pem: self.trusted_pem.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Identity {
    /// Who this is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Trusts a second authority of the same cluster too, while one replaces the other.
    #[must_use]
    pub fn trusting(mut self, authority: &Authority) -> Self {
        self.trusted.push(authority.certificate.clone());
        self.trusted_pem.push_str(&authority.certificate_pem);
        self
    }

    /// Writes `identity.pem`, `identity.key` and `authority.pem` into `folder`, readable by their owner only.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), NetError> {
        write_secret(&folder.join(AUTHORITY_FILE), &self.trusted_pem)?;
        write_secret(&folder.join(IDENTITY_FILE), &self.chain_pem)?;
        write_secret(&folder.join(IDENTITY_KEY_FILE), &self.key_pem)
    }

    /// Reads what [`Identity::save`] wrote.
    ///
    /// # Errors
    /// [`NetError::File`], [`NetError::KeyIsOpen`].
    pub fn load(folder: &Path) -> Result<Self, NetError> {
        let (chain_pem, chain) = read_certificates(&folder.join(IDENTITY_FILE))?;
        let (trusted_pem, trusted) = read_certificates(&folder.join(AUTHORITY_FILE))?;
        let key_path = folder.join(IDENTITY_KEY_FILE);
        let key_pem = read_secret(&key_path)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| NetError::File {
            tried: "read",
            path: key_path,
            detail: error.to_string(),
        })?;
        let peer = peer_of(&chain).ok_or_else(|| NetError::File {
            tried: "read",
            path: folder.join(IDENTITY_FILE),
            detail: CertificateFlaw::NoPeerName.to_string(),
        })?;
        Ok(Self { peer, chain, key, trusted, chain_pem, key_pem, trusted_pem })
    }
}

/// The peer that a chain's first certificate names; `None` if it names none, or more than one.
pub(crate) fn peer_of(chain: &[CertificateDer<'_>]) -> Option<Peer> {
    uri_of(chain.first()?, Peer::from_uri)
}

/// An identity made ready: parsed once, used by each connection.
pub(crate) struct Credentials {
    shown: Arc<SingleCertAndKey>,
    trusted: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    pub(crate) fn of(identity: &Identity) -> Result<Self, NetError> {
        let tried = "take up the identity";
        let provider = provider();
        let key = provider.key_provider.load_private_key(identity.key.clone_key()).map_err(certify(tried))?;
        let shown = CertifiedKey::new(identity.chain.clone(), key);
        shown.keys_match().map_err(certify(tried))?;
        let mut trusted = RootCertStore::empty();
        for certificate in &identity.trusted {
            trusted.add(certificate.clone()).map_err(certify(tried))?;
        }
        Ok(Self { shown: Arc::new(shown.into()), trusted: Arc::new(trusted), provider: Arc::new(provider) })
    }

    /// For one connection that we begin; why the peer was not trusted is written to `verdict`.
    pub(crate) fn client(&self, verdict: &Verdict) -> Result<ClientConfig, NetError> {
        let verifier = ServerVerifier {
            trusted: Arc::clone(&self.trusted),
            provider: Arc::clone(&self.provider),
            verdict: verdict.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(certify("set up TLS"))?
            .dangerous() // The verifier is our own, as it goes by authority and not by host name.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(config)
    }

    /// For one connection that a peer begins; why it was not trusted is written to `verdict`.
    pub(crate) fn server(&self, verdict: &Verdict) -> Result<ServerConfig, NetError> {
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.trusted), Arc::clone(&self.provider))
            .build()
            .map_err(certify("set up TLS"))?;
        let verifier = ClientVerifier { inner, verdict: verdict.clone() };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(certify("set up TLS"))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

/// AES-128-GCM first, and of the others only AES-256-GCM, for a peer whose rules ask for it: both are done by the
/// processor's own instructions, and QUIC's first packets need the former.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256, ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..ring::default_provider()
    }
}

/// Where a verifier leaves why it did not trust; empty while it did, or was not asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<CertificateFlaw>>>);

impl Verdict {
    pub(crate) fn flaw(&self) -> Option<CertificateFlaw> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, result: Result<T, TlsError>) -> Result<T, TlsError> {
        if let Err(error) = &result {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(flaw_of(error));
        }
        result
    }
}

fn flaw_of(error: &TlsError) -> CertificateFlaw {
    match error {
        TlsError::NoCertificatesPresented => CertificateFlaw::Missing,
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => CertificateFlaw::UnknownAuthority,
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            CertificateFlaw::Expired
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            CertificateFlaw::NotYetValid
        }
        TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => CertificateFlaw::NoPeerName,
        other => CertificateFlaw::Other { detail: other.to_string() },
    }
}

/// What a peer found wrong with our certificate, from its TLS alert (RFC 8446 § 6); `None` for an alert on something else.
pub(crate) fn flaw_of_alert(alert: u8) -> Option<CertificateFlaw> {
    match alert {
        116 => Some(CertificateFlaw::Missing),
        48 => Some(CertificateFlaw::UnknownAuthority),
        45 => Some(CertificateFlaw::OutOfDate),
        49 => Some(CertificateFlaw::NoPeerName),
        42..=44 | 46 | 51 => Some(CertificateFlaw::Other { detail: format!("TLS alert {alert}") }),
        _ => None,
    }
}

/// A good certificate that names no peer is as bad as none.
fn check_names_a_peer(certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    match peer_of(std::slice::from_ref(certificate)) {
        Some(_) => Ok(()),
        None => Err(CertificateError::ApplicationVerificationFailure.into()),
    }
}

/// An authority of a cluster of the same name has the same name, and another key: its signature is bad here, but what the
/// peer should be told is that its authority is unknown.
fn same_name_other_key(error: TlsError) -> TlsError {
    match error {
        TlsError::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        other => other,
    }
}

/// Trusts a server by its authority; which host it is on proves nothing here.
#[derive(Debug)]
struct ServerVerifier {
    trusted: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    verdict: Verdict,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let judge = || {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.trusted, intermediates, now, algorithms)
                .map_err(same_name_other_key)?;
            check_names_a_peer(end_entity)?;
            Ok(ServerCertVerified::assertion())
        };
        self.verdict.note(judge())
    }

    /// Not reached: only TLS 1.3 is spoken.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.verdict.note(verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// rustls' own judgement of a client's certificate, which must be shown; writes down what it says.
#[derive(Debug)]
struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    verdict: Verdict,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[SubjectName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let judge = || {
            let verified =
                self.inner.verify_client_cert(end_entity, intermediates, now).map_err(same_name_other_key)?;
            check_names_a_peer(end_entity)?;
            Ok(verified)
        };
        self.verdict.note(judge())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verdict.note(self.inner.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The same for an authority just made and one read from its files: a certificate is matched to its issuer by these names.
fn authority_params(cluster: &str) -> Result<CertificateParams, NetError> {
    if !is_name(cluster) {
        return Err(NetError::Name { what: "cluster", name: cluster.to_owned() });
    }
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("windrow cluster {cluster}"));
    params.subject_alt_names = vec![uri_name(cluster_uri(cluster))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + AUTHORITY_VALID).into();
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn uri_name(uri: String) -> Result<SanType, NetError> {
    Ok(SanType::URI(uri.try_into().map_err(certify("name a certificate"))?))
}

/// What `read` makes of the only one of a certificate's URIs that it can read.
fn uri_of<T>(certificate: &CertificateDer<'_>, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut found = parsed.valid_uri_names().filter_map(read);
    let first = found.next();
    if found.next().is_some() { None } else { first }
}

fn certify<E: fmt::Display>(tried: &'static str) -> impl Fn(E) -> NetError {
    move |error| NetError::Certify { tried, detail: error.to_string() }
}

fn read_certificates(path: &Path) -> Result<(String, Vec<CertificateDer<'static>>), NetError> {
    let text = read(path)?;
    let wrong = |detail: String| NetError::File { tried: "read", path: path.to_owned(), detail };
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok((text, certificates))
}

fn read(path: &Path) -> Result<String, NetError> {
    fs::read_to_string(path).map_err(|error| NetError::File {
        tried: "read",
        path: path.to_owned(),
        detail: error.to_string(),
    })
}

fn read_secret(path: &Path) -> Result<String, NetError> {
    let wrong =
        |error: std::io::Error| NetError::File { tried: "read", path: path.to_owned(), detail: error.to_string() };
    let mode = fs::metadata(path).map_err(wrong)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(NetError::KeyIsOpen { path: path.to_owned(), mode });
    }
    read(path)
}

/// Beside its place first, so that a reader sees the old file or the new one, and never with another mode.
fn write_secret(path: &Path, text: &str) -> Result<(), NetError> {
    let beside = path.with_extension("being-written");
    let write = || {
        let _ = fs::remove_file(&beside); // What an earlier try left; its mode may be another.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error: std::io::Error| NetError::File {
        tried: "write",
        path: path.to_owned(),
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn an_authority_issues_the_same_after_it_was_saved_and_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let made = Authority::create("field").unwrap();
        made.save(folder.path()).unwrap();
        let loaded = Authority::load(folder.path()).unwrap();
        assert_eq!(loaded.cluster(), "field");
        let identity = loaded.issue(Role::Worker, "w1", &["127.0.0.1", "localhost"], DAY).unwrap();
        let parsed = ParsedCertificate::try_from(&identity.chain[0]).unwrap();
        let credentials = Credentials::of(&made.issue(Role::Client, "c", &[], DAY).unwrap()).unwrap();
        let algorithms = credentials.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &credentials.trusted, &[], UnixTime::now(), algorithms)
            .unwrap();
    }

    #[test]
    fn an_identity_is_loaded_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let old = Authority::create("field").unwrap();
        let next = Authority::create("field").unwrap();
        let identity = old.issue(Role::Worker, "w1", &[], DAY).unwrap().trusting(&next);
        identity.save(folder.path()).unwrap();
        let loaded = Identity::load(folder.path()).unwrap();
        assert_eq!(loaded.peer(), identity.peer());
        assert_eq!(loaded.peer().uri(), "windrow://field/worker/w1");
        assert_eq!((loaded.chain, loaded.trusted.len()), (identity.chain, 2));
        assert_eq!(loaded.key, identity.key);
    }

    #[test]
    fn keys_are_their_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create("field").unwrap();
        authority.issue(Role::Worker, "w1", &[], DAY).unwrap().save(folder.path()).unwrap();
        authority.save(folder.path()).unwrap();
        for file in [AUTHORITY_KEY_FILE, IDENTITY_KEY_FILE] {
            let path = folder.path().join(file);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        assert!(matches!(Authority::load(folder.path()), Err(NetError::KeyIsOpen { mode: 0o640, .. })));
        assert!(matches!(Identity::load(folder.path()), Err(NetError::KeyIsOpen { mode: 0o640, .. })));
    }

    #[test]
    fn no_key_is_printed() {
        let authority = Authority::create("field").unwrap();
        let identity = authority.issue(Role::Worker, "w1", &[], DAY).unwrap();
        let printed = format!("{authority:?} {identity:?}");
        assert!(!printed.contains("PRIVATE") && printed.len() < 300, "{printed}");
    }

    #[test]
    fn names_are_checked() {
        assert!(matches!(Authority::create("a/b"), Err(NetError::Name { what: "cluster", .. })));
        let authority = Authority::create("field").unwrap();
        let wrong = authority.issue(Role::Worker, "../w", &[], DAY);
        assert!(matches!(wrong, Err(NetError::Name { what: "peer", .. })));
    }

    #[test]
    fn damaged_files_are_typed_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Identity::load(folder.path()), Err(NetError::File { .. })));
        Authority::create("field").unwrap().issue(Role::Worker, "w", &[], DAY).unwrap().save(folder.path()).unwrap();
        for file in [IDENTITY_FILE, AUTHORITY_FILE, IDENTITY_KEY_FILE] {
            let path = folder.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            for damage in ["", "no pem", &text[..text.len() / 2]] {
                write_secret(&path, damage).unwrap();
                assert!(matches!(Identity::load(folder.path()), Err(NetError::File { .. })), "{file}: {damage}");
            }
            write_secret(&path, &text).unwrap();
        }
        Identity::load(folder.path()).unwrap();
    }
}
