//! Which addresses are this pod's own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether an address is this machine's: then what is sent there would come from there.
pub fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    // Nothing is sent by connecting a datagram socket.
    let source = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn own_addresses_are_known() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("192.0.2.1", false),
            ("::ffff:127.0.0.1", true),
            ("::ffff:192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_own(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(is_own(IpAddr::V6(Ipv6Addr::LOCALHOST)), UdpSocket::bind("[::1]:0").is_ok());
    }
}
