//! Ports that are listened on.
//!
//! One socket at `[::]` takes both kinds of addresses: a connection by IPv4 comes from `::ffff:10.0.0.1` there. Everything
//! behind this module sees `10.0.0.1`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tokio::net::{TcpListener, TcpStream};

use crate::model::event::info;

/// Connections that the kernel keeps until they are accepted; it may keep fewer.
const BACKLOG: i32 = 1024;

/// A port that was bound.
pub struct Listener {
    pub socket: TcpListener,
}

impl Listener {
    /// Binds a port. `[::]` means every address of both kinds, and every IPv4 address where the kernel has no IPv6.
    pub fn open(address: SocketAddr) -> io::Result<Listener> {
        Listener::open_by(bound, address)
    }

    fn open_by(
        bound: impl Fn(SocketAddr) -> io::Result<std::net::TcpListener>,
        address: SocketAddr,
    ) -> io::Result<Listener> {
        let socket = match bound(address) {
            Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && has_no_ipv6(&error) => {
                let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
                info!(ListenSingleStack, %address, "the kernel has no IPv6: listening on IPv4 alone");
                bound(address)?
            }
            bound => bound?,
        };
        Ok(Listener { socket: TcpListener::from_std(socket)? })
    }

    /// The next connection, and where it comes from.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.socket.accept().await?;
        Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
    }
}

/// Said by a kernel that was built or started without it.
fn has_no_ipv6(error: &io::Error) -> bool {
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    is(Errno::AFNOSUPPORT) || error.kind() == ErrorKind::AddrNotAvailable
}

fn bound(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// Where connections to these addresses come from, by a listener that is opened so.
    fn peers(open: impl FnOnce() -> io::Result<Listener>, to: &[IpAddr]) -> Vec<IpAddr> {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = open().unwrap();
            let port = listener.socket.local_addr().unwrap().port();
            let mut peers = Vec::new();
            for address in to {
                let _client = std::net::TcpStream::connect((*address, port)).unwrap();
                peers.push(listener.accept().await.unwrap().1.ip());
            }
            peers
        })
    }

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    const BY_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const BY_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn one_port_takes_both_kinds_and_shows_each_as_it_is() {
        let machine_has_ipv6 = std::net::TcpListener::bind((BY_V6, 0)).is_ok();
        let to = if machine_has_ipv6 { &[BY_V4, BY_V6][..] } else { &[BY_V4] };
        assert_eq!(peers(|| Listener::open(ANY), to), to);
    }

    #[test]
    fn without_ipv6_in_the_kernel_there_is_ipv4() {
        for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            let without = |address: SocketAddr| if address.is_ipv6() { Err(errno.into()) } else { bound(address) };
            assert_eq!(peers(|| Listener::open_by(without, ANY), &[BY_V4]), [BY_V4]);
            // Whoever names an address means that one.
            assert!(Listener::open_by(without, SocketAddr::new(BY_V6, 0)).is_err());
        }
        let taken = |_: SocketAddr| Err(Errno::ADDRINUSE.into());
        assert!(Listener::open_by(taken, ANY).is_err());
    }
}
