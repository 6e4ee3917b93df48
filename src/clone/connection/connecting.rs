//! The way to a peer: its name may have several addresses, and not every one of them answers.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::asking::{Place, Silence};

/// To one address. A pod that was deleted a moment ago doesn't answer at all.
pub(in crate::clone) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// To an address that is followed by others: pods that are there answer in milliseconds.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(1);

/// Of one name that are tried. A pod has one or two.
const MOST_ADDRESSES: usize = 16;

/// To the first address that answers.
pub(in crate::clone) fn connect(place: &Place, limit: Duration) -> Result<TcpStream, Silence> {
    let addresses: Vec<SocketAddr> = match place {
        Place::Address(address) => vec![*address],
        Place::Name(name) => (name.host.as_str(), name.port)
            .to_socket_addrs()
            .map_err(|error| Silence::Unreachable(format!("the name {} does not resolve: {error}", name.host)))?
            .collect(),
    };
    connect_to_first(&addresses, limit)
}

/// Where there are several, one that is silent doesn't take all of the time; nor do many that a name server made up, for all
/// together have twice the time of one.
fn connect_to_first(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Silence> {
    let end = Instant::now() + 2 * limit;
    let mut failures = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || failures.len() == MOST_ADDRESSES {
            failures.push(format!("{} more addresses were not tried", addresses.len() - at));
            break;
        }
        let is_last = at + 1 == addresses.len();
        let time = if is_last { limit } else { limit.min(ONE_OF_SEVERAL) };
        match TcpStream::connect_timeout(address, time.min(left)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                failures.push(format!("nobody listens at {address}"));
            }
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(Silence::Unreachable(if failures.is_empty() {
        "the name has no address".to_owned()
    } else {
        failures.join(", ")
    }))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

    use super::*;

    /// Each of 40 took as long as it could: 40 times the time that one has.
    #[test]
    fn a_name_with_many_addresses_takes_no_more_time_than_two() {
        let limit = Duration::from_millis(300);
        // Its queue has room for one; whoever comes then hears nothing.
        let full = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        bind(&full, &any).unwrap();
        listen(&full, 0).unwrap();
        let full = TcpListener::from(full);
        let silent = full.local_addr().unwrap();
        let _queued: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&silent, limit)).collect();
        let begun = Instant::now();
        let told = connect_to_first(&[silent; 40], limit).unwrap_err().to_string();
        assert!(begun.elapsed() > limit && begun.elapsed() < 4 * limit, "{:?}: {told}", begun.elapsed());
        assert!(told.contains("more addresses were not tried"), "{told}");
        // Those that refuse take no time, and a line for each would be long.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let told = connect_to_first(&[free; 5000], limit).unwrap_err().to_string();
        assert!(told.contains("4984 more addresses") && told.len() < 2000, "{told}");
        assert!(connect_to_first(&[silent, free, answering()], limit).is_ok(), "the last one answers");
    }

    /// Of somebody who listens for as long as the test runs.
    fn answering() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        address
    }
}
