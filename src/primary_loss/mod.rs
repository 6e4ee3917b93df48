//! Decides whether ordinal 0 may begin a new database: asks first whether the set already has data.
//!
//! Three findings stop it: a peer that holds data, a peer that exists and stays silent, and a resolver that fails. With
//! a clone secret a peer is believed only once it has proven itself. That holds for its report, and for an answer that
//! it belongs to another set. An empty list of peers proves nothing, since after a full outage the pods start one by
//! one. The replicas detect that case later by comparing identities (see [`crate::replication`]).

mod names;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread::{Builder, ScopedJoinHandle};

use crate::clone::connection::{self, Place, Questions, Refused, Silence};
use crate::model::host::HostPort;
use crate::model::identity::Kinship;
use crate::model::ordinal::{Member, Ordinal};
use crate::model::position::Position;
use crate::protocol::message::{Report, Why};
use crate::settings::Peering;
use crate::sys::limits;
use crate::sys::own_address;

/// More pods than a set has. It bounds the search where a name server has an address for every name.
const MOST_PEERS: u32 = 1000;

/// The pod that asks, and where its peers are.
pub struct LossCheck<'a> {
    pub member: &'a Member,
    pub peering: &'a Peering,
    /// The headless service's name.
    pub service: &'a str,
    /// The port of the peers' sidecars.
    pub port: u16,
}

/// The findings around an empty primary.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Peers that hold data.
    with_data: Vec<Peer>,
    /// Peers that exist but gave an unusable answer, and why.
    silent: Vec<(IpAddr, Silence)>,
    /// Names that failed to resolve, and why.
    unresolved: Vec<(String, String)>,
}

/// A peer that has reported.
#[derive(Debug)]
struct Peer {
    address: IpAddr,
    /// Its name, where that resolves to this address; otherwise the address.
    host: String,
    report: Report,
}

impl Peer {
    /// Why this peer is excluded as the source of a recovery, however far its data reach.
    fn why_no_source(&self) -> Option<String> {
        match (&self.report.applier_fault, &self.report.left_out) {
            (Some(fault), _) => Some(format!(
                "its applier stopped with {fault}, so its data differ from the lost primary's: repair it, or skip that \
                 transaction"
            )),
            (None, Some(setting)) => {
                Some(format!("may lack a part of the data ({setting}): name another with --donor"))
            }
            (None, None) => None,
        }
    }
}

impl LossCheck<'_> {
    /// Asks every peer that has a name. Takes almost no time for a set of one pod.
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
            Ok(answer) => answer.unwrap_or_else(|_| unasked("the request failed".to_owned())),
            Err(error) => unasked(format!("the request failed: {error}")),
        });
        let look_up = |name: &str| names::addresses(name).unwrap_or_default();
        self.sort(addresses.into_iter().zip(answers), look_up, &mut surroundings);
        surroundings
    }

    /// Sorts the answers by what they prove. A pod may have an IPv4 and an IPv6 address and be reachable by one of them
    /// only: one report speaks for both.
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

    /// The addresses of all pods behind the service. Adds pods that the service leaves out, by their own names, up to
    /// the first ordinal that lacks one.
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
                // Either the name is unknown, or all its addresses are known already, as where a name server answers
                // every name.
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

/// Whether `address` is this peer's other address, by its name. A pod has at most one of each kind: a second of the
/// same kind belongs to another pod.
fn is_also_at(peer: &Peer, by_name: &[IpAddr], address: IpAddr) -> bool {
    by_name.contains(&address) && peer.address.is_ipv4() != address.is_ipv4()
}

fn is_told_already(reported: &[(Peer, Vec<IpAddr>)], address: IpAddr, report: &Report) -> bool {
    reported.iter().any(|(peer, all)| peer.report.pod == report.pod && is_also_at(peer, all, address))
}

/// What a silent or refusing peer says about the set. `None` where it reports that it belongs to another set behind the
/// same service. Where a secret is set, the peer must prove that it knows it. A stranger could otherwise allow a new
/// database beside the old one.
fn believed(silence: Silence, has_secret: bool) -> Option<Silence> {
    match silence {
        Silence::Refused(Refused { refusal, is_proven }) if refusal.why == Why::WrongSet => {
            let unproven = || format!("it answers {refusal}, without proof of the clone secret");
            (has_secret && !is_proven).then(|| Silence::Unacceptable(unproven()))
        }
        other => Some(other),
    }
}

impl Surroundings {
    /// Whether all findings allow a new database.
    pub fn are_empty(&self) -> bool {
        self.with_data.is_empty() && self.silent.is_empty() && self.unresolved.is_empty()
    }

    /// The findings, in one line.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        for Peer { address, report, .. } in &self.with_data {
            let mut text = format!("{} ({address}) holds data", report.pod);
            if let Some(set_id) = &report.set_id {
                let _ = write!(text, " of set id {set_id}");
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
            words.push(format!("a pod at {address} exists but gives no report ({silence})"));
        }
        for (name, why) in &self.unresolved {
            words.push(format!("cannot resolve {name} ({why})"));
        }
        words.join("; ")
    }

    /// The replica to recover from: the one that has everything the others have. The error says why there is none.
    pub fn most_advanced(&self, port: u16) -> Result<(HostPort, Position), String> {
        if !self.silent.is_empty() || !self.unresolved.is_empty() {
            return Err(format!("some replicas gave no report: {}", self.in_words()));
        }
        let mut candidates = Vec::new();
        for peer in &self.with_data {
            let first = &self.with_data[0].report;
            let kinship = Kinship::of(first.set_id.as_ref(), peer.report.set_id.as_ref());
            if !matches!(kinship, Kinship::Same | Kinship::BothUnknown) {
                return Err(format!("the replicas belong to different sets: {}", self.in_words()));
            }
            match peer.report.fetched.as_ref().or(peer.report.applied.as_ref()) {
                Some(position) => candidates.push((peer, position)),
                None => return Err(format!("the server of {} reports no position", peer.report.pod)),
            }
        }
        let has_all = |position: &Position| candidates.iter().all(|(_, other)| position.covers(other) == Some(true));
        let furthest: Vec<_> = candidates.iter().filter(|(_, position)| has_all(position)).collect();
        match (furthest.iter().find(|(peer, _)| peer.why_no_source().is_none()), furthest.first()) {
            (Some((peer, position)), _) => Ok((HostPort { host: peer.host.clone(), port }, (*position).clone())),
            (None, Some((peer, _))) => Err(format!(
                "{} is the most advanced, but {}; found: {}",
                peer.report.pod,
                peer.why_no_source().unwrap_or_default(),
                self.in_words()
            )),
            (None, None) => Err(format!("no replica has everything that the others have: {}", self.in_words())),
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

    /// The findings where each peer has an IPv4 and an IPv6 address, `10.0.0.N` and `fd00::N`.
    fn sorted(answers: Vec<(&str, Result<Report, Silence>)>) -> Surroundings {
        let peering = Peering {
            secret: None,
            stall_timeout: std::time::Duration::from_secs(30),
            wire_compression: crate::settings::WireCompression::Off,
            method: crate::settings::Method::Auto,
        };
        let member = Member { set: "mysql".into(), ordinal: Ordinal::PRIMARY };
        let check = LossCheck { member: &member, peering: &peering, service: "mysql", port: 3307 };
        let mut found = Surroundings::default();
        let answers = answers.into_iter().map(|(address, answer)| (address.parse().unwrap(), answer));
        let look_up = |name: &str| {
            let number = name.trim_start_matches("mysql-").trim_end_matches(".mysql");
            [format!("10.0.0.{number}"), format!("fd00::{number}")].map(|address| address.parse().unwrap()).to_vec()
        };
        check.sort(answers, look_up, &mut found);
        found
    }

    #[test]
    fn a_pod_with_two_addresses_counts_once() {
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
        // Another pod's address still counts by itself, and so does one that has given an answer.
        let found = sorted(vec![("10.0.0.1", report(1)), ("fd00::2", silent())]);
        assert_eq!(found.silent.len(), 1);
        let found = sorted(vec![("10.0.0.1", report(1)), ("fd00::1", Err(Silence::Unacceptable("x".into())))]);
        assert_eq!(found.silent.len(), 1);
        // A name that resolves elsewhere is ignored.
        let found = sorted(vec![("10.0.0.7", report(1))]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.7:3307");
    }

    #[test]
    fn the_most_advanced_replica_has_everything_fetched_or_applied() {
        let found = surroundings(vec![replica(1, "0-100-9", None), replica(2, "0-100-7", Some("0-100-10"))]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.2:3307");
        let apart = surroundings(vec![replica(1, "0-100-9", None), replica(2, "0-100-7,1-1-1", None)]);
        assert!(apart.most_advanced(3307).unwrap_err().contains("no replica has everything"));
    }

    #[test]
    fn a_replica_with_a_stopped_applier_is_refused_as_source_of_recovery() {
        let mut faulty = replica(1, "0-100-7", Some("0-100-9"));
        faulty.report.applier_fault = Some("error 1062 after GTID 0-100-7".into());
        let found = surroundings(vec![faulty, replica(2, "0-100-9", None)]);
        assert_eq!(found.most_advanced(3307).unwrap().0.to_string(), "10.0.0.2:3307");
        let mut further = replica(1, "0-100-7", Some("0-100-10"));
        further.report.applier_fault = Some("error 1062 after GTID 0-100-7".into());
        let found = surroundings(vec![further, replica(2, "0-100-9", None)]);
        let why = found.most_advanced(3307).unwrap_err();
        assert!(why.contains("mysql-1 is the most advanced, but its applier stopped with error 1062"), "{why}");
    }

    #[test]
    fn a_peer_of_another_set_is_believed_if_proven_or_without_a_secret() {
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
        assert!(believed(Silence::Legacy, false).is_some());
    }

    #[test]
    fn a_replica_that_lacks_tables_is_refused_even_if_most_advanced() {
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
            why.contains("mysql-2 is the most advanced, but may lack a part")
                && why.contains("replicate_ignore_db = app"),
            "{why}"
        );
    }

    #[test]
    fn a_silent_peer_prevents_any_choice() {
        let mut found = surroundings(vec![replica(1, "0-100-9", None)]);
        found.silent.push(([10, 0, 0, 2].into(), Silence::Unreachable("nobody listens".into())));
        assert!(found.most_advanced(3307).unwrap_err().contains("10.0.0.2"));
        assert!(!found.are_empty());
    }
}
