//! Which addresses are this pod's own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether an address is this machine's: then what is sent there would come from there.
pub fn is_own(address: IpAddr) -> bool {
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
    use super::*;

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own([127, 0, 0, 1].into()));
        assert!(!is_own([192, 0, 2, 1].into()));
    }
}
