//! By which congestion control a donor sends.
//!
//! BBR spaces out what it sends. Where no `fq` queue does that for it, and a pod's interface has no queue at all, the
//! kernel sets a timer for every few packets: through such an interface one sender brought a third of what it brought by
//! CUBIC, for three times the processor time (Linux 6.18, a virtual machine). What BBR is good at, long ways that lose
//! packets without being full, lies seldom between pods of one cluster. So where it is the system's choice, peers nearby
//! are sent to by another algorithm, and peers far away as the system has it.
//!
//! A connection must never have used it: pacing that was once asked for stays (bbr_init in net/ipv4/tcp_bbr.c). So
//! the listener is told, from which connections inherit (tcp_ca_openreq_child in net/ipv4/tcp_minisocks.c), and a
//! connection is given the system's choice back when it is known how far its peer is.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use tracing::{debug, info};

/// Algorithms without pacing, of which the first that can be had is taken. Every kernel has the last.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// The longest round trip to a peer nearby. Zones of one region are not farther apart, as a rule; and over so short a way
/// a loss is mended before much is lost by it.
const NEARBY: Duration = Duration::from_millis(2);

/// The system's congestion control, where a listener was told to have another.
pub struct SetAside {
    system: Option<String>,
    nearby: Duration,
}

impl SetAside {
    /// Has the connections of a listener that isn't connected to yet begin without pacing. Where that can't be had, all
    /// stays as it is.
    pub fn by(listener: &impl AsFd) -> SetAside {
        SetAside::where_it(paces, listener, NEARBY)
    }

    fn where_it(paces: impl Fn(&str) -> bool, listener: &impl AsFd, nearby: Duration) -> SetAside {
        let system = tcp_congestion(listener).ok().filter(|system| paces(system));
        let instead = system.as_ref().and_then(|system| {
            UNPACED.into_iter().find(|name| name != system && set_tcp_congestion(listener, name).is_ok())
        });
        if let (Some(system), Some(instead)) = (&system, instead) {
            info!(system, instead, "sending to peers nearby without pacing");
        }
        SetAside { system: system.filter(|_| instead.is_some()), nearby }
    }

    /// Gives it back to a connection whose peer is far away, or nobody knows how far.
    pub fn give_back_unless_nearby(&self, connection: &TcpStream) {
        let Some(system) = &self.system else { return };
        let round_trip = round_trip(connection).unwrap_or_default();
        if (Duration::from_micros(1)..=self.nearby).contains(&round_trip) {
            return;
        }
        let given = set_tcp_congestion(connection, system);
        debug!(system, ?round_trip, ?given, "sending to a peer far away");
    }
}

fn paces(algorithm: &str) -> bool {
    algorithm.starts_with("bbr")
}

/// As the kernel has measured it, so far when the connection was made; zero where it couldn't.
#[allow(unsafe_code, reason = "an option that no library wraps")]
fn round_trip(connection: &TcpStream) -> io::Result<Duration> {
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
    if result == 0 { Ok(Duration::from_micros(info.tcpi_rtt.into())) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const FAR: Duration = Duration::from_secs(1);

    /// What a connection is sent by, from a listener whose system's choice was taken for one that paces, or not.
    fn accepted(system_paces: bool, nearby: Duration) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let system = tcp_congestion(&listener).unwrap();
        let set_aside = SetAside::where_it(|_| system_paces, &listener, nearby);
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        set_aside.give_back_unless_nearby(&connection);
        (system, tcp_congestion(&connection).unwrap())
    }

    #[test]
    fn a_peer_nearby_is_sent_to_without_pacing() {
        let (system, used) = accepted(true, FAR);
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
        let (system, used) = accepted(false, FAR);
        assert_eq!(used, system);
        for name in ["cubic", "reno", "dctcp", "htcp"] {
            assert!(!paces(name), "{name}");
        }
        for name in ["bbr", "bbr2", "bbr3"] {
            assert!(paces(name), "{name}");
        }
    }

    #[test]
    fn the_round_trip_is_what_the_kernel_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let round_trip = round_trip(&connection).unwrap();
        assert!(round_trip > Duration::ZERO && round_trip < FAR, "{round_trip:?}");
        assert!(super::round_trip(&unconnected()).is_err());
    }

    /// Something that isn't a connection at all.
    fn unconnected() -> TcpStream {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        TcpStream::from(std::os::fd::OwnedFd::from(socket))
    }
}
