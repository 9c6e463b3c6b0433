//! Who a peer is: a cluster, a role and a name, as its certificate says.
//!
//! In: the URI of a certificate. Out: a [`Peer`], and its URI again. Never: a peer's own claim; what a peer says of
//! itself on the wire is not looked at, only what the cluster's authority signed.

use std::fmt;

/// The scheme of the URI in a certificate's subject alternative name.
const SCHEME: &str = "windrow://";

/// Letters of a cluster's or a peer's name: what one label of a host name may have (RFC 1035).
const NAME_LETTERS_MAX: usize = 63;

/// What a peer may do. Which role may connect to whom is said by [`crate::Options::accepts`] and [`crate::Network::link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Leads the cluster's jobs.
    Coordinator,
    /// Runs tasks, keeps and serves what they made.
    Worker,
    /// Submits jobs and pulls their answers.
    Client,
}

impl Role {
    /// Each role once.
    pub const ALL: [Self; 3] = [Self::Coordinator, Self::Worker, Self::Client];

    fn word(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// A peer as the cluster's authority named it: `windrow://<cluster>/<role>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The cluster it belongs to.
    pub cluster: String,
    /// What it may do.
    pub role: Role,
    /// Its name, unique in the cluster by the care of whoever issues certificates.
    pub name: String,
}

impl Peer {
    /// The peer that a URI names; `None` for everything that is not exactly such a URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let (cluster, role, name) = (parts.next()?, parts.next()?, parts.next()?);
        let role = Role::ALL.into_iter().find(|one| one.word() == role)?;
        let is_whole = parts.next().is_none() && is_name(cluster) && is_name(name);
        is_whole.then(|| Self { cluster: cluster.to_owned(), role, name: name.to_owned() })
    }

    /// The URI that stands in its certificate.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.cluster, self.role, self.name)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} of cluster {}", self.role, self.name, self.cluster)
    }
}

/// The URI of a cluster's authority, without role and name: `windrow://<cluster>`.
pub(crate) fn cluster_uri(cluster: &str) -> String {
    format!("{SCHEME}{cluster}")
}

/// The cluster that [`cluster_uri`] named.
pub(crate) fn cluster_of(uri: &str) -> Option<&str> {
    uri.strip_prefix(SCHEME).filter(|cluster| is_name(cluster))
}

/// Whether `name` may name a cluster or a peer: 1 to 63 small letters, digits, `-`, `_` and `.`, so that it is one part of
/// a URI and never a path.
pub(crate) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_as_it_was_written() {
        for role in Role::ALL {
            let peer = Peer { cluster: "field-1".into(), role, name: "worker_3.example".into() };
            assert_eq!(Peer::from_uri(&peer.uri()), Some(peer));
        }
    }

    #[test]
    fn what_is_not_exactly_a_peer_is_none() {
        let long = format!("windrow://c/worker/{}", "n".repeat(NAME_LETTERS_MAX + 1));
        for uri in [
            "",
            "windrow://",
            "windrow://c",
            "windrow://c/worker",
            "windrow://c/worker/",
            "windrow:///worker/n",
            "windrow://c/king/n",
            "windrow://c/Worker/n",
            "windrow://c/worker/n/m",
            "windrow://c/worker/N",
            "windrow://c/worker/n%2fm",
            "https://c/worker/n",
            " windrow://c/worker/n",
            &long,
        ] {
            assert_eq!(Peer::from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_cluster_is_read_as_it_was_written() {
        assert_eq!(cluster_of(&cluster_uri("field")), Some("field"));
        assert_eq!(cluster_of("windrow://field/worker/n"), None);
    }
}
