//! Which addresses a name has: "none" and "nobody knows" are different answers.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use crate::sys::limits;

/// A resolver that is silent for so long counts as one that fails. A name that isn't there is asked for in each search domain,
/// four as a rule, and a name server may take five seconds for each. The C library's own patience is longer where there are
/// several name servers.
const LIMIT: Duration = Duration::from_secs(30);

/// The addresses of a name, none where there is no such name; an error where that can't be found out.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let (answer, answered) = mpsc::channel();
    let asked = name.to_owned();
    // The lookup can't be broken off; it ends by itself some time later.
    let asking = Builder::new().name("names".into()).spawn(move || answer.send(look_up(&asked)));
    asking.map_err(|error| limits::explain(error).to_string())?;
    answered.recv_timeout(LIMIT).unwrap_or_else(|_| Err(format!("no answer in {} seconds", LIMIT.as_secs())))
}

fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found {
                let address = address.map_err(|error| error.to_string())?.sockaddr.ip();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Ok(Vec::new()),
            _ => Err(std::io::Error::from(error).to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hosts_file_has_its_address() {
        assert!(addresses("localhost").unwrap().iter().any(IpAddr::is_loopback));
    }
}
