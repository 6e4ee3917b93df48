//! Chooses the congestion control by which a donor sends.
//!
//! BBR paces its packets. An `fq` queue does that cheaply, but a pod's interface has no queue at all. There the kernel
//! sets a timer for every few packets. Through such an interface a bare sender reached a third of CUBIC's rate, with
//! three times the processor time per byte (Linux 6.18, a virtual machine). BBR is good at long paths that lose packets
//! while they have room. Such paths are rare between pods of one cluster. So if BBR is the system's choice when the
//! sidecar starts, nearby peers get another algorithm. Distant peers keep the system's.
//!
//! The decision must come before the first use of BBR: pacing stays on once a connection has asked for it (bbr_init in
//! net/ipv4/tcp_bbr.c). So the listener gets the other algorithm, and connections inherit it unless a route says
//! otherwise (tcp_ca_openreq_child in net/ipv4/tcp_minisocks.c). A connection gets the system's choice back once the
//! distance to its peer is known.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use tracing::debug;

use crate::model::event::{info, warn};

/// Algorithms that send unpaced; the first available one is used. Every kernel has the last.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// The longest round trip to a nearby peer. Zones of one region are rarely farther apart. On so short a path the sender
/// recovers quickly from a loss.
const NEARBY: Duration = Duration::from_millis(2);

/// The system's congestion control, for a listener that was given another.
pub struct CongestionOverride {
    system: String,
    instead: &'static str,
    nearby: Duration,
}

impl CongestionOverride {
    /// Makes the connections of a listener start unpaced. `None` if they already do, or if the kernel lacks the
    /// algorithms.
    pub fn by(listener: &impl AsFd) -> Option<CongestionOverride> {
        CongestionOverride::where_system(paces, listener, NEARBY)
    }

    fn where_system(
        is_paced: impl Fn(&str) -> bool,
        listener: &impl AsFd,
        nearby: Duration,
    ) -> Option<CongestionOverride> {
        let system = tcp_congestion(listener).ok().filter(|system| is_paced(system))?;
        let mut others = UNPACED.into_iter().filter(|name| *name != system);
        let instead = others.find(|name| set_tcp_congestion(listener, name).is_ok())?;
        info!(DonorPacingOff, system, instead, "sending unpaced to nearby peers");
        Some(CongestionOverride { system, instead, nearby })
    }

    /// Restores the system's choice on a connection that inherited the other one, if its peer is distant or at an
    /// unknown distance.
    pub fn give_back_unless_nearby(&self, connection: &(impl AsFd + AsRawFd)) {
        let round_trip = round_trip(connection).ok().flatten();
        let has_inherited = tcp_congestion(connection).is_ok_and(|used| used == self.instead);
        if !has_inherited || is_nearby(round_trip, self.nearby) {
            return;
        }
        match set_tcp_congestion(connection, &self.system) {
            Ok(()) => {
                debug!(system = self.system, ?round_trip, "using the system's congestion control for a distant peer")
            }
            Err(error) => {
                warn!(DonorPacingUnset, %error, used = self.instead, "cannot restore the system's congestion control; sending unpaced to a distant peer")
            }
        }
    }
}

fn paces(algorithm: &str) -> bool {
    algorithm.starts_with("bbr")
}

fn is_nearby(round_trip: Option<Duration>, limit: Duration) -> bool {
    round_trip.is_some_and(|round_trip| round_trip <= limit)
}

/// The round trip that the kernel measured at connection time. `None` if it could not, as with SYN cookies.
#[allow(unsafe_code, reason = "an option that no library wraps")]
fn round_trip(connection: &impl AsRawFd) -> io::Result<Option<Duration>> {
    // SAFETY: the struct consists of integers only.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of the struct.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.tcpi_rtt > 0).then(|| Duration::from_micros(info.tcpi_rtt.into())))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::super::ClonePort;
    use super::*;

    const ANY_DISTANCE: Duration = Duration::from_secs(1);

    /// Treats the system's choice as one that paces, or not. Returns it with the algorithm of an accepted connection.
    fn accepted(system_paces: bool, nearby: Duration) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let system = tcp_congestion(&listener).unwrap();
        let set_aside = CongestionOverride::where_system(|_| system_paces, &listener, nearby);
        assert_eq!(set_aside.is_some(), system_paces, "beside {system} this kernel has to have one of {UNPACED:?}");
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        if let Some(set_aside) = set_aside {
            set_aside.give_back_unless_nearby(&connection);
        }
        (system, tcp_congestion(&connection).unwrap())
    }

    #[test]
    fn a_nearby_peer_gets_an_unpaced_algorithm() {
        let (system, used) = accepted(true, ANY_DISTANCE);
        assert_ne!(used, system);
        assert!(UNPACED.contains(&used.as_str()), "{used}");
    }

    #[test]
    fn a_distant_peer_gets_the_systems_algorithm() {
        let (system, used) = accepted(true, Duration::ZERO);
        assert_eq!(used, system);
    }

    #[test]
    fn an_algorithm_that_sends_unpaced_is_kept() {
        let (system, used) = accepted(false, ANY_DISTANCE);
        assert_eq!(used, system);
        for name in ["cubic", "reno", "dctcp", "htcp"] {
            assert!(!paces(name), "{name}");
        }
        for name in ["bbr", "bbr2", "bbr3"] {
            assert!(paces(name), "{name}");
        }
    }

    #[test]
    fn the_clone_port_chooses_by_distance() {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let mut port = ClonePort::open("[::]:0".parse().unwrap()).unwrap();
            let used = tcp_congestion(&port.listener.socket).unwrap();
            assert!(!paces(&used), "{used}");
            port.set_aside = CongestionOverride::where_system(|_| true, &port.listener.socket, Duration::ZERO);
            assert_ne!(tcp_congestion(&port.listener.socket).unwrap(), used);
            let number = port.listener.socket.local_addr().unwrap().port();
            let _peer = TcpStream::connect(("127.0.0.1", number)).unwrap();
            let (connection, _) = port.accept().await.unwrap();
            assert_eq!(tcp_congestion(&connection).unwrap(), used);
        });
    }

    #[test]
    fn a_connection_keeps_an_algorithm_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let used = tcp_congestion(&connection).unwrap();
        let [one, other] = UNPACED;
        let (system, instead) = if used == one { (other, "bic") } else { (one, other) };
        CongestionOverride { system: system.to_owned(), instead, nearby: Duration::ZERO }
            .give_back_unless_nearby(&connection);
        assert_eq!(tcp_congestion(&connection).unwrap(), used);
    }

    #[test]
    fn a_peer_is_nearby_only_by_a_known_short_round_trip() {
        let micros = Duration::from_micros;
        for (round_trip, expected) in
            [(None, false), (Some(micros(1)), true), (Some(micros(2000)), true), (Some(micros(2001)), false)]
        {
            assert_eq!(is_nearby(round_trip, NEARBY), expected, "{round_trip:?}");
        }
    }

    #[test]
    fn the_round_trip_is_the_kernels_measurement() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let most = begun.elapsed();
        let round_trip = round_trip(&connection).unwrap().unwrap();
        assert!(round_trip <= most, "{round_trip:?} of {most:?}");
        assert!(super::round_trip(&unconnected()).is_err());
    }

    /// A socket of another kind.
    fn unconnected() -> TcpStream {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        TcpStream::from(std::os::fd::OwnedFd::from(socket))
    }
}
