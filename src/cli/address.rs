//! Addresses with a port, as flags take them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Reads `10.0.0.1:3307` or `[::1]:3307`. The error says which part is wrong.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets before its port, as in [{text}]:3307"));
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("the port is missing: {text}:3307"));
    }
    Err("it is an IP address and a port, as in 0.0.0.0:3307, 127.0.0.1:3307 or [::]:3307".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_errors_say_what_is_wrong() {
        for text in ["0.0.0.0:3307", "[::]:3307", "[fd00::5]:8307"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for (text, expected) in [
            ("::1:3307", "in brackets"),
            ("::1", "[::1]:3307"),
            ("[::1]", "port is missing: [::1]:3307"),
            ("10.0.0.1", "port is missing"),
            ("localhost:3307", "is an IP address and a port"),
            ("[::1]:x", "is an IP address and a port"),
            ("*:3307", "[::]:3307"),
            ("", "is an IP address and a port"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
