//! Hosts: names and addresses, with a port and without.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;

use crate::model::exit::Reason;

/// A server's address as a client writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// Reads a donor: `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`.
    pub fn parse(text: &str, default_port: u16) -> Result<HostPort> {
        let wrong = |why: &str| {
            Reason::Settings.error(format!(
                "donor {text:?} is not HOST or HOST:PORT{why}; an IPv6 address with a port is [ADDRESS]:PORT"
            ))
        };
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) if !is_ipv6(address) => return Err(wrong(": brackets are for IPv6 addresses")),
            Some((address, "")) => (address, None),
            Some((address, rest)) => (address, Some(rest.strip_prefix(':').ok_or_else(|| wrong(""))?)),
            None if text.ends_with(&format!(":{default_port}")) && is_ipv6(text) => {
                return Err(wrong(&format!(": {default_port} may be its port or the end of its address")));
            }
            None if is_ipv6(text) => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| wrong("")))?;
        if host.is_empty() { Err(wrong("")) } else { Ok(HostPort { host: host.to_owned(), port }) }
    }

    /// The address, where it is one and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads a host that has its port in another flag. Brackets around an IPv6 address are taken off.
pub fn host(flag: &str, text: &str) -> Result<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|inner| is_ipv6(inner));
    let name = bare.unwrap_or(text);
    if name.is_empty() || (name.contains([':', '[', ']']) && !is_ipv6(name)) {
        return Err(Reason::Settings.error(format!("{flag} {text:?} is not a name or an address without a port")));
    }
    Ok(name.to_owned())
}

/// Whether it is one, be it with the name of an interface behind it, as in `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn donors_with_and_without_a_port() {
        let parsed = |text| HostPort::parse(text, 3307).unwrap();
        assert_eq!(parsed("mysql-0.mysql"), HostPort { host: "mysql-0.mysql".into(), port: 3307 });
        assert_eq!(parsed("10.0.0.1:99"), HostPort { host: "10.0.0.1".into(), port: 99 });
        assert_eq!(parsed("[::1]:99"), HostPort { host: "::1".into(), port: 99 });
        assert_eq!(parsed("[::1]").to_string(), "[::1]:3307");
        assert_eq!(parsed("::1").to_string(), "[::1]:3307");
        assert_eq!(parsed("fe80::1%eth0").host, "fe80::1%eth0");
        for (wrong, word) in [
            ("", "HOST"),
            (":1", "HOST"),
            ("host:", "HOST"),
            ("host:port", "HOST"),
            ("[::1]x", "HOST"),
            ("[host]:1", "brackets are for IPv6"),
            ("host:1:2", "HOST"),
            ("fd00::5:3307", "may be its port"),
        ] {
            let error = HostPort::parse(wrong, 3307).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("[ADDRESS]:PORT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn hosts_have_their_port_elsewhere() {
        let parsed = |text| host("--server-host", text).map_err(|error| error.to_string());
        for (text, bare) in [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("db-0.db", "db-0.db")] {
            assert_eq!(parsed(text).as_deref(), Ok(bare));
        }
        for wrong in ["", "127.0.0.1:3306", "[::1]:3306", "[host]", "host:port"] {
            assert!(parsed(wrong).unwrap_err().contains("--server-host"), "{wrong}");
        }
    }
}
