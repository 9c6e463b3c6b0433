//! Addresses as people write them: `127.0.0.1:7000`, `[::1]:7000`, `field:7000`.
//!
//! In: text from the command line. Out: an address with its port. Never: a port that was not said.

use std::net::{SocketAddr, ToSocketAddrs};

/// The address that `text` names; of a host's several the first.
pub fn parse(text: &str) -> Result<SocketAddr, AddressError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok() => {}
        _ => return Err(AddressError::Form),
    }
    let mut found = text.to_socket_addrs().map_err(|_| AddressError::Host)?;
    found.next().ok_or(AddressError::Host)
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address is HOST:PORT, as 127.0.0.1:7000")]
    Form,
    #[error("no host has this name")]
    Host,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        assert_eq!(parse("127.0.0.1:7000").unwrap(), SocketAddr::from(([127, 0, 0, 1], 7000)));
        assert_eq!(parse("[::1]:0").unwrap(), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)));
        assert!(parse("localhost:7000").unwrap().ip().is_loopback());
        for text in ["", "7000", ":7000", "localhost", "::1", "localhost:many", "localhost:70000"] {
            assert_eq!(parse(text), Err(AddressError::Form), "{text}");
        }
    }
}
