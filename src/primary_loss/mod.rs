//! The primary-loss guard: before ordinal 0 begins a new database, it asks whether the set has data already.
//!
//! A peer that holds data, one that exists and does not answer, and a resolver that can't say who exists: each of them
//! stops it. With a clone secret only a peer that has proven itself is believed: a report, or that it belongs to another
//! set. That no peer has a name proves nothing, for after a full outage they are started one by one; then it is
//! they who notice, by comparing identities (see [`crate::replication`]).

mod names;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread::{Builder, ScopedJoinHandle};

use crate::clone::connection::{self, Place, Questions, Refused, Silence};
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::model::position::Position;
use crate::protocol::message::{Report, Why};
use crate::settings::Peering;
use crate::sys::limits;
use crate::sys::own_address;

/// More pods than a set has: a name server may know an address of its own for every name.
const MOST_PEERS: u32 = 1000;

/// The pod that asks, and where the others are.
pub struct Guard<'a> {
    pub member: &'a Member,
    pub peering: &'a Peering,
    /// The headless service's name.
    pub service: &'a str,
    /// The port of the peers' sidecars.
    pub port: u16,
}

/// What was found around an empty primary.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Peers that hold data.
    with_data: Vec<Peer>,
    /// Peers that exist and give no answer that can be used, and why.
    silent: Vec<(IpAddr, Silence)>,
    /// Names about which the resolver gives no answer, and why.
    unresolved: Vec<(String, String)>,
}

/// A peer that has reported.
#[derive(Debug)]
struct Peer {
    address: IpAddr,
    /// Its name, where that leads to it; else its address.
    host: String,
    report: Report,
}

impl Peer {
    /// What makes it no source of a recovery, however far it has come.
    fn why_no_source(&self) -> Option<String> {
        match (&self.report.applier_fault, &self.report.left_out) {
            (Some(fault), _) => Some(format!(
                "its applier stopped with {fault}, so that its data differ from the lost primary's: mend it, or have it \
                 skip that place"
            )),
            (None, Some(setting)) => {
                Some(format!("may lack a part of the data ({setting}): name another with --donor"))
            }
            (None, None) => None,
        }
    }
}

impl Guard<'_> {
    /// Asks every peer that has a name. Takes no time worth speaking of where there is none.
    pub fn look_around(&self) -> Surroundings {
        let mut surroundings = Surroundings::default();
        let addresses = self.addresses_of_peers(&mut surroundings.unresolved);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                addresses.iter().map(|address| Builder::new().spawn_scoped(scope, || self.ask(*address))).collect();
            asked.into_iter().map(|asked| asked.map_err(limits::explain).map(ScopedJoinHandle::join)).collect()
        });
        let unasked = |why: String| Err(Silence::Unreachable(why));
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(answer) => answer.unwrap_or_else(|_| unasked("asking it failed".to_owned())),
            Err(error) => unasked(format!("asking it failed: {error}")),
        });
        let look_up = |name: &str| names::addresses(name).unwrap_or_default();
        self.sort(addresses.into_iter().zip(answers), look_up, &mut surroundings);
        surroundings
    }

    /// Takes note of what each address said. A pod may have an address of each kind and be reached by one of them only: it has
    /// said what it is all the same.
    fn sort(
        &self,
        answers: impl Iterator<Item = (IpAddr, Result<Report, Silence>)>,
        look_up: impl Fn(&str) -> Vec<IpAddr>,
        found: &mut Surroundings,
    ) {
        let mut reported: Vec<(Peer, Vec<IpAddr>)> = Vec::new();
        for (address, answer) in answers {
            match answer {
                Ok(report) if is_told_already(&reported, address, &report) => {}
                Ok(report) => {
                    let name = self.member.peer(Ordinal(report.ordinal), self.service);
                    let all = Some(look_up(&name)).filter(|all| all.contains(&address));
                    let host = all.as_ref().map_or_else(|| address.to_string(), |_| name);
                    reported.push((Peer { address, host, report }, all.unwrap_or_default()));
                }
                Err(silence) => {
                    let silence = believed(silence, self.peering.secret.is_some());
                    found.silent.extend(silence.map(|silence| (address, silence)));
                }
            }
        }
        found.silent.retain(|(address, silence)| {
            let is_known = reported.iter().any(|(peer, all)| is_also_at(peer, all, *address));
            !(is_known && matches!(silence, Silence::Unreachable(_) | Silence::Mute(_)))
        });
        let reported = reported.into_iter().map(|(peer, _)| peer);
        found.with_data.extend(reported.filter(|peer| peer.report.has_data));
    }

    fn ask(&self, address: IpAddr) -> Result<Report, Silence> {
        let place = Place::Address(SocketAddr::new(address, self.port));
        connection::ask_for_report(self.member, self.peering, &place, &Questions::default())
    }

    /// All pods behind the service; and by their own names, as long as there is one of the next ordinal, those that the
    /// service doesn't list.
    fn addresses_of_peers(&self, unresolved: &mut Vec<(String, String)>) -> Vec<IpAddr> {
        let mut peers = match names::addresses(self.service) {
            Ok(addresses) => addresses,
            Err(why) => {
                unresolved.push((self.service.to_owned(), why));
                return Vec::new();
            }
        };
        let mut by_name: Vec<IpAddr> = Vec::new();
        for name in (1..=MOST_PEERS).map(|ordinal| self.member.peer(Ordinal(ordinal), self.service)) {
            match names::addresses(&name) {
                // None; or one that another has already, as where a name server answers every name.
                Ok(addresses) if addresses.iter().all(|address| by_name.contains(address)) => break,
                Ok(addresses) => by_name.extend(addresses),
                Err(why) => {
                    unresolved.push((name, why));
                    break;
                }
            }
        }
        peers.extend(by_name);
        peers.sort_unstable();
        peers.dedup();
        peers.retain(|address| !own_address::is_own(*address));
        peers
    }
}

/// Whether this is another address of a peer, by its name. A pod has one of each kind at most: a second of the same kind is
/// another pod's.
fn is_also_at(peer: &Peer, by_name: &[IpAddr], address: IpAddr) -> bool {
    by_name.contains(&address) && peer.address.is_ipv4() != address.is_ipv4()
}

fn is_told_already(reported: &[(Peer, Vec<IpAddr>)], address: IpAddr, report: &Report) -> bool {
    reported.iter().any(|(peer, all)| peer.report.pod == report.pod && is_also_at(peer, all, address))
}

/// What a peer's silence says about the set; `None` where the peer belongs to another set behind the same service, which
/// it says itself. Where a secret is set, only a peer that knows it is believed that: a stranger could open the way to
/// a new database beside the old one.
fn believed(silence: Silence, has_secret: bool) -> Option<Silence> {
    match silence {
        Silence::Refused(Refused { refusal, is_proven }) if refusal.why == Why::WrongSet => {
            let unproven = || format!("it says {refusal}, but does not prove that it knows the clone secret");
            (has_secret && !is_proven).then(|| Silence::Unacceptable(unproven()))
        }
        other => Some(other),
    }
}

impl Surroundings {
    /// Whether nothing speaks against a new database.
    pub fn are_empty(&self) -> bool {
        self.with_data.is_empty() && self.silent.is_empty() && self.unresolved.is_empty()
    }

    /// What was found, in one line.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        for Peer { address, report, .. } in &self.with_data {
            let mut text = format!("{} ({address}) holds data", report.pod);
            if let Some(set_id) = &report.set_id {
                let _ = write!(text, " of set identity {set_id}");
            }
            if let Some(position) = &report.applied {
                let _ = write!(text, ", up to {position}");
            }
            if let Some(fault) = &report.applier_fault {
                let _ = write!(text, ", and its applier stopped with {fault}");
            }
            if let Some(setting) = &report.left_out {
                let _ = write!(text, ", but may lack a part of it ({setting})");
            }
            words.push(text);
        }
        for (address, silence) in &self.silent {
            words.push(format!("a pod at {address} exists and does not say what it holds ({silence})"));
        }
        for (name, why) in &self.unresolved {
            words.push(format!("whether {name} exists cannot be found out ({why})"));
        }
        words.join("; ")
    }

    /// The replica to recover from: the one that has all that any other has. An error says why there is none.
    pub fn most_advanced(&self, port: u16) -> Result<(HostPort, Position), String> {
        if !self.silent.is_empty() || !self.unresolved.is_empty() {
            return Err(format!("not all replicas could be asked: {}", self.in_words()));
        }
        let mut candidates = Vec::new();
        for peer in &self.with_data {
            if peer.report.set_id != self.with_data[0].report.set_id {
                return Err(format!("the replicas are of different sets: {}", self.in_words()));
            }
            match peer.report.fetched.as_ref().or(peer.report.applied.as_ref()) {
                Some(position) => candidates.push((peer, position)),
                None => return Err(format!("the server of {} does not say how far it has come", peer.report.pod)),
            }
        }
        let has_all = |position: &Position| candidates.iter().all(|(_, other)| position.covers(other) == Some(true));
        let furthest: Vec<_> = candidates.iter().filter(|(_, position)| has_all(position)).collect();
        match (furthest.iter().find(|(peer, _)| peer.why_no_source().is_none()), furthest.first()) {
            (Some((peer, position)), _) => Ok((HostPort { host: peer.host.clone(), port }, (*position).clone())),
            (None, Some((peer, _))) => Err(format!(
                "{} has come furthest, but {}; found: {}",
                peer.report.pod,
                peer.why_no_source().unwrap_or_default(),
                self.in_words()
            )),
            (None, None) => Err(format!("no replica has all that the others have: {}", self.in_words())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use crate::protocol::message::Refusal;

    fn replica(ordinal: u32, applied: &str, fetched: Option<&str>) -> Peer {
        let position = |text: &str| Position::MariadbGtid { slave_pos: text.to_owned() };
        let report = Report {
            pod: format!("mysql-{ordinal}"),
            ordinal,
            set_id: None,
            lineage: None,
            has_data: true,
            server: None,
            applied: Some(position(applied)),
            fetched: fetched.map(position),
            cannot_follow: None,
            unknown_history: None,
            applier_fault: None,
            left_out: None,
        };
        let address = IpAddr::from([10, 0, 0, ordinal as u8]);
        Peer { address, host: address.to_string(), report }
    }

    fn surroundings(with_data: Vec<Peer>) -> Surroundings {
        Surroundings { with_data, ..Surroundings::default() }
    }

    /// What a pod finds where each peer has an address of each kind, `10.0.0.N` and `fd00::N`.
    fn sorted(answers: Vec<(&str, Result<Report, Silence>)>) -> Surroundings {
        let peering = Peering {
            secret: None,
            stall_timeout: std::time::Duration::from_secs(30),
            wire_compression: crate::settings::WireCompression::Off,
            method: crate::settings::Method::Auto,
        };
        let member = Member { set: "mysql".into(), ordinal: Ordinal::PRIMARY };
        let guard = Guard { member: &member, peering: &peering, service: "mysql", port: 3307 };
        let mut found = Surroundings::default();
        let answers = answers.into_iter().map(|(address, answer)| (address.parse().unwrap(), answer));
        let look_up = |name: &str| {
            let number = name.trim_start_matches("mysql-").trim_end_matches(".mysql");
            [format!("10.0.0.{number}"), format!("fd00::{number}")].map(|address| address.parse().unwrap()).to_vec()
        };
        guard.sort(answers, look_up, &mut found);
        found
    }

    #[test]
    fn a_pod_with_two_addresses_is_one_pod_whichever_of_them_answers() {
        let report = |ordinal| Ok(replica(ordinal, "0-100-9", None).report);
        let silent = || Err(Silence::Unreachable("nobody listens".into()));
        let found = sorted(vec![
            ("10.0.0.1", report(1)),
            ("fd00::1", report(1)),
            ("10.0.0.2", silent()),
            ("fd00::2", report(2)),
        ]);
        assert_eq!((found.with_data.len(), found.silent.len()), (2, 0), "{}", found.in_words());
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "mysql-1.mysql:3307");
        // Another pod's address is not answered for; nor is one that has something to say.
        let found = sorted(vec![("10.0.0.1", report(1)), ("fd00::2", silent())]);
        assert_eq!(found.silent.len(), 1);
        let found = sorted(vec![("10.0.0.1", report(1)), ("fd00::1", Err(Silence::Unacceptable("x".into())))]);
        assert_eq!(found.silent.len(), 1);
        // A name that leads elsewhere is not used.
        let found = sorted(vec![("10.0.0.7", report(1))]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.7:3307");
    }

    #[test]
    fn the_most_advanced_has_all_that_the_others_have_even_if_not_applied() {
        let found = surroundings(vec![replica(1, "0-100-9", None), replica(2, "0-100-7", Some("0-100-10"))]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.2:3307");
        let apart = surroundings(vec![replica(1, "0-100-9", None), replica(2, "0-100-7,1-1-1", None)]);
        assert!(apart.most_advanced(3307).unwrap_err().contains("no replica has all"));
    }

    #[test]
    fn a_replica_whose_applier_stopped_is_no_source_of_recovery() {
        let mut faulty = replica(1, "0-100-7", Some("0-100-9"));
        faulty.report.applier_fault = Some("error 1062 after GTID 0-100-7".into());
        let found = surroundings(vec![faulty, replica(2, "0-100-9", None)]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.2:3307");
        let mut further = replica(1, "0-100-7", Some("0-100-10"));
        further.report.applier_fault = Some("error 1062 after GTID 0-100-7".into());
        let found = surroundings(vec![further, replica(2, "0-100-9", None)]);
        let why = found.most_advanced(3307).unwrap_err();
        assert!(why.contains("mysql-1 has come furthest, but its applier stopped with error 1062"), "{why}");
    }

    #[test]
    fn a_peer_of_another_set_is_believed_where_it_has_proven_itself_or_nobody_can() {
        let refused = |why: Why, is_proven: bool| {
            Silence::Refused(Refused { refusal: Refusal::new(Event::RefusedOtherSet, why, "x"), is_proven })
        };
        for (why, is_proven, has_secret, is_silent) in [
            (Why::WrongSet, true, true, false),
            (Why::WrongSet, false, true, true),
            (Why::WrongSet, false, false, false),
            (Why::Unauthorised, false, true, true),
            (Why::Unauthorised, true, true, true),
            (Why::Other, false, false, true),
        ] {
            let told = believed(refused(why, is_proven), has_secret);
            assert_eq!(told.is_some(), is_silent, "{why:?} {is_proven} {has_secret}");
        }
        assert!(believed(Silence::Bare, false).is_some());
    }

    #[test]
    fn one_that_lacks_a_part_is_not_chosen_however_far_it_has_come() {
        let partial = |ordinal, applied| {
            let mut peer = replica(ordinal, applied, None);
            peer.report.left_out = Some("replicate_ignore_db = app".to_owned());
            peer
        };
        let found = surroundings(vec![partial(2, "0-100-9"), replica(1, "0-100-9", None)]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.1:3307");
        let found = surroundings(vec![partial(2, "0-100-9"), replica(1, "0-100-7", None)]);
        let why = found.most_advanced(3307).unwrap_err();
        assert!(
            why.contains("mysql-2 has come furthest, but may lack a part") && why.contains("replicate_ignore_db = app"),
            "{why}"
        );
    }

    #[test]
    fn nobody_is_chosen_while_somebody_is_silent() {
        let mut found = surroundings(vec![replica(1, "0-100-9", None)]);
        found.silent.push(([10, 0, 0, 2].into(), Silence::Unreachable("nobody listens".into())));
        assert!(found.most_advanced(3307).unwrap_err().contains("10.0.0.2"));
        assert!(!found.are_empty());
    }
}
