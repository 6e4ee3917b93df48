//! By which congestion control a donor sends.
//!
//! BBR spaces out what it sends. Where no `fq` queue does that for it, and a pod's interface has no queue at all, the
//! kernel sets a timer for every few packets: through such an interface a bare sender reached a third of the rate that it
//! had by CUBIC, with three times the processor time per byte (Linux 6.18, a virtual machine). What BBR is good at, long
//! ways that lose packets without being full, lies seldom between pods of one cluster. So where it is the system's choice
//! when the sidecar starts, peers nearby are sent to by another algorithm, and peers far away as the system has it.
//!
//! A connection must never have used it: pacing that was once asked for stays (bbr_init in net/ipv4/tcp_bbr.c). So
//! the listener is told, from which connections inherit unless a route says otherwise (tcp_ca_openreq_child in
//! net/ipv4/tcp_minisocks.c), and a connection is given the system's choice back when it is known how far its peer is.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use tracing::debug;

use crate::model::event::{info, warn};

/// Algorithms without pacing, of which the first that can be had is taken. Every kernel has the last.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// The longest round trip to a peer nearby. Zones of one region are not farther apart, as a rule; and over so short a way
/// a loss is mended before much is lost by it.
const NEARBY: Duration = Duration::from_millis(2);

/// The system's congestion control, where a listener was told to have another.
pub struct SetAside {
    system: String,
    instead: &'static str,
    nearby: Duration,
}

impl SetAside {
    /// Has the connections of a listener begin without pacing. `None` where they do that anyway, or it can't be had.
    pub fn by(listener: &impl AsFd) -> Option<SetAside> {
        SetAside::where_system(paces, listener, NEARBY)
    }

    fn where_system(is_paced: impl Fn(&str) -> bool, listener: &impl AsFd, nearby: Duration) -> Option<SetAside> {
        let system = tcp_congestion(listener).ok().filter(|system| is_paced(system))?;
        let mut others = UNPACED.into_iter().filter(|name| *name != system);
        let instead = others.find(|name| set_tcp_congestion(listener, name).is_ok())?;
        info!(DonorPacingOff, system, instead, "sending to peers nearby without pacing");
        Some(SetAside { system, instead, nearby })
    }

    /// Gives it back to a connection that inherited the other and whose peer is far away, or nobody knows how far.
    pub fn give_back_unless_nearby(&self, connection: &(impl AsFd + AsRawFd)) {
        let round_trip = round_trip(connection).ok().flatten();
        let has_inherited = tcp_congestion(connection).is_ok_and(|used| used == self.instead);
        if !has_inherited || is_nearby(round_trip, self.nearby) {
            return;
        }
        match set_tcp_congestion(connection, &self.system) {
            Ok(()) => {
                debug!(system = self.system, ?round_trip, "the peer is not nearby, and sent to as the system has it")
            }
            Err(error) => {
                warn!(DonorPacingUnset, %error, used = self.instead, "a peer that is not nearby is sent to without pacing")
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

/// As the kernel measured it when the connection was made; `None` where it couldn't, as with SYN cookies.
#[allow(unsafe_code, reason = "an option that no library wraps")]
fn round_trip(connection: &impl AsRawFd) -> io::Result<Option<Duration>> {
    // SAFETY: it consists of integers only.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes, which is what there is.
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

    /// The system's choice, taken for one that paces, or not; and what a connection of a listener is sent by.
    fn accepted(system_paces: bool, nearby: Duration) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let system = tcp_congestion(&listener).unwrap();
        let set_aside = SetAside::where_system(|_| system_paces, &listener, nearby);
        assert_eq!(set_aside.is_some(), system_paces, "beside {system} this kernel has to have one of {UNPACED:?}");
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        if let Some(set_aside) = set_aside {
            set_aside.give_back_unless_nearby(&connection);
        }
        (system, tcp_congestion(&connection).unwrap())
    }

    #[test]
    fn a_peer_nearby_is_sent_to_without_pacing() {
        let (system, used) = accepted(true, ANY_DISTANCE);
        assert_ne!(used, system);
        assert!(UNPACED.contains(&used.as_str()), "{used}");
    }

    #[test]
    fn a_peer_far_away_is_sent_to_as_the_system_has_it() {
        let (system, used) = accepted(true, Duration::ZERO);
        assert_eq!(used, system);
    }

    #[test]
    fn nothing_is_set_aside_that_does_not_pace() {
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
    fn the_port_for_clones_does_so() {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let mut port = ClonePort::open("[::]:0".parse().unwrap()).unwrap();
            let used = tcp_congestion(&port.listener.socket).unwrap();
            assert!(!paces(&used), "{used}");
            port.set_aside = SetAside::where_system(|_| true, &port.listener.socket, Duration::ZERO);
            assert_ne!(tcp_congestion(&port.listener.socket).unwrap(), used);
            let number = port.listener.socket.local_addr().unwrap().port();
            let _peer = TcpStream::connect(("127.0.0.1", number)).unwrap();
            let (connection, _) = port.accept().await.unwrap();
            assert_eq!(tcp_congestion(&connection).unwrap(), used);
        });
    }

    #[test]
    fn what_a_connection_did_not_inherit_it_keeps() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let used = tcp_congestion(&connection).unwrap();
        let [one, other] = UNPACED;
        let (system, instead) = if used == one { (other, "bic") } else { (one, other) };
        SetAside { system: system.to_owned(), instead, nearby: Duration::ZERO }.give_back_unless_nearby(&connection);
        assert_eq!(tcp_congestion(&connection).unwrap(), used);
    }

    #[test]
    fn a_peer_is_nearby_where_that_is_known() {
        let micros = Duration::from_micros;
        for (round_trip, expected) in
            [(None, false), (Some(micros(1)), true), (Some(micros(2000)), true), (Some(micros(2001)), false)]
        {
            assert_eq!(is_nearby(round_trip, NEARBY), expected, "{round_trip:?}");
        }
    }

    #[test]
    fn the_round_trip_is_what_the_kernel_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let most = begun.elapsed();
        let round_trip = round_trip(&connection).unwrap().unwrap();
        assert!(round_trip <= most, "{round_trip:?} of {most:?}");
        assert!(super::round_trip(&unconnected()).is_err());
    }

    /// Something that isn't a connection at all.
    fn unconnected() -> TcpStream {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        TcpStream::from(std::os::fd::OwnedFd::from(socket))
    }
}
