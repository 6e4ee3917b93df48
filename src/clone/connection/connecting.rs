//! Connects to a peer: its name may have several addresses, and some of them may be silent.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::asking::{Place, Silence};

/// Limit for one address. A pod deleted a moment ago stays silent.
pub(in crate::clone) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Limit for an address that others follow: living pods answer in milliseconds.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(1);

/// Addresses tried of one name. A pod has one or two.
const MOST_ADDRESSES: usize = 16;

/// Connects to the first address that answers.
pub(in crate::clone) fn connect(place: &Place, limit: Duration) -> Result<TcpStream, Silence> {
    let addresses: Vec<SocketAddr> = match place {
        Place::Address(address) => vec![*address],
        Place::Name(name) => (name.host.as_str(), name.port)
            .to_socket_addrs()
            .map_err(|error| Silence::Unreachable(format!("cannot resolve the name {}: {error}", name.host)))?
            .collect(),
    };
    connect_to_first(&addresses, limit)
}

/// Bounds the total time: a silent address of several gets a shorter limit, and all together get twice the time of one.
/// So a name server that invents many addresses cannot extend it.
fn connect_to_first(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Silence> {
    let end = Instant::now() + 2 * limit;
    let mut failures = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || failures.len() == MOST_ADDRESSES {
            failures.push(format!("{} more addresses were left untried", addresses.len() - at));
            break;
        }
        let is_last = at + 1 == addresses.len();
        let time = if is_last { limit } else { limit.min(ONE_OF_SEVERAL) };
        match TcpStream::connect_timeout(address, time.min(left)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                failures.push(format!("{address} refused the connection"));
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

    /// With a full limit each, 40 addresses took 40 times as long as one.
    #[test]
    fn a_name_with_many_addresses_takes_the_time_of_two() {
        let limit = Duration::from_millis(300);
        // Its queue has room for one; later connections stay unanswered.
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
        assert!(told.contains("more addresses were left untried"), "{told}");
        // Refusals take no time, and a line for each would be long.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let told = connect_to_first(&[free; 5000], limit).unwrap_err().to_string();
        assert!(told.contains("4984 more addresses") && told.len() < 2000, "{told}");
        assert!(connect_to_first(&[silent, free, answering()], limit).is_ok(), "the last one answers");
    }

    /// A peer that listens for the whole test.
    fn answering() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        address
    }
}
