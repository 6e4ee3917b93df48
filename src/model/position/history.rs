//! Which of two positions is further on in the same history.
//!
//! MariaDB: `domain-server-sequence`, one for each domain; within a domain sequence numbers only grow
//! (`gtid_strict_mode`). MySQL: sets of intervals for each UUID and tag. Files: by the number at their end, then the
//! offset; they only say something about the logs of one server.

use std::collections::{BTreeMap, BTreeSet};

use super::Position;

impl Position {
    /// Whether all that lies before `other` lies before this position too; `None` where the two are of kinds that
    /// can't be compared.
    pub fn covers(&self, other: &Position) -> Option<bool> {
        match (self, other) {
            (Position::MariadbGtid { slave_pos: reached }, Position::MariadbGtid { slave_pos: wanted }) => {
                Some(mariadb_covers(reached, wanted))
            }
            (Position::MysqlGtid { executed: reached }, Position::MysqlGtid { executed: wanted }) => {
                Some(mysql_covers(reached, wanted))
            }
            (Position::BinlogFile { .. }, Position::BinlogFile { .. }) => {
                Some(place_in_log(self)? >= place_in_log(other)?)
            }
            _ => None,
        }
    }

    /// A position by GTID in the same server's words; `None` where this one is by file and offset.
    pub fn of_the_same_kind(&self, gtid: String) -> Option<Position> {
        match self {
            Position::MariadbGtid { .. } => Some(Position::MariadbGtid { slave_pos: gtid }),
            Position::MysqlGtid { .. } => Some(Position::MysqlGtid { executed: gtid }),
            Position::BinlogFile { .. } => None,
        }
    }
}

/// The streams of which `position` has more than `base`: MariaDB's domains, or MySQL's sources with their tags; `None`
/// where these are not two positions by GTID of one kind.
pub fn streams_ahead(position: &Position, base: &Position) -> Option<BTreeSet<String>> {
    match (position, base) {
        (Position::MariadbGtid { slave_pos: further }, Position::MariadbGtid { slave_pos: base }) => {
            let base = domains(base);
            let is_ahead = |(domain, sequence): &(u64, u64)| base.get(domain).is_none_or(|reached| reached < sequence);
            Some(domains(further).into_iter().filter(is_ahead).map(|(domain, _)| domain.to_string()).collect())
        }
        (Position::MysqlGtid { executed: further }, Position::MysqlGtid { executed: base }) => {
            let base = intervals(base);
            let is_ahead = |(source, wanted): &(String, Vec<(u64, u64)>)| {
                !holds(base.get(source).map(Vec::as_slice).unwrap_or_default(), wanted)
            };
            Some(intervals(further).into_iter().filter(is_ahead).map(|(source, _)| source).collect())
        }
        _ => None,
    }
}

/// File number and offset: `mysql-bin.000010`, 500 as (10, 500).
fn place_in_log(position: &Position) -> Option<(u64, u64)> {
    let Position::BinlogFile { file, offset } = position else { return None };
    Some((file.rsplit('.').next()?.parse().ok()?, *offset))
}

/// Whether a MariaDB position has reached another in every domain that the other names. What can't be read is not reached.
pub fn mariadb_covers(reached: &str, wanted: &str) -> bool {
    if not_understood(wanted).next().is_some() {
        return false;
    }
    let (reached, wanted) = (domains(reached), domains(wanted));
    wanted.iter().all(|(domain, sequence)| reached.get(domain).is_some_and(|there| there >= sequence))
}

/// The transactions of `history`, a MariaDB binary log's state, that a server with this state and position has not: the
/// state holds the last transaction of every server that ever wrote in a domain.
pub fn mariadb_unknown(history: &str, known_state: &str, known_position: &str) -> Vec<String> {
    let known_state = servers(known_state);
    let known_position = domains(known_position);
    let is_known = |(domain, server): (u64, u64), sequence: u64| {
        known_state.get(&(domain, server)).is_some_and(|there| *there >= sequence)
            || known_position.get(&domain).is_some_and(|there| *there >= sequence)
    };
    let unknown = servers(history).into_iter().filter(|(writer, sequence)| !is_known(*writer, *sequence));
    let unknown = unknown.map(|((domain, server), sequence)| format!("{domain}-{server}-{sequence}"));
    unknown.chain(not_understood(history).map(str::to_owned)).collect()
}

/// Of each domain in two MariaDB positions the last transaction.
pub fn mariadb_furthest(one: &str, other: &str) -> String {
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (domain, server, sequence) in gtids(one).chain(gtids(other)) {
        let there = last.entry(domain).or_insert((sequence, server));
        *there = (*there).max((sequence, server));
    }
    let gtids: Vec<_> =
        last.into_iter().map(|(domain, (sequence, server))| format!("{domain}-{server}-{sequence}")).collect();
    gtids.join(",")
}

fn domains(position: &str) -> BTreeMap<u64, u64> {
    let mut last = BTreeMap::new();
    for (domain, _, sequence) in gtids(position) {
        let there: &mut u64 = last.entry(domain).or_default();
        *there = (*there).max(sequence);
    }
    last
}

fn servers(state: &str) -> BTreeMap<(u64, u64), u64> {
    gtids(state).map(|(domain, server, sequence)| ((domain, server), sequence)).collect()
}

fn gtids(text: &str) -> impl Iterator<Item = (u64, u64, u64)> {
    text.split(',').filter_map(gtid)
}

fn gtid(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.trim().split('-').map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(domain)), Some(Ok(server)), Some(Ok(sequence)), None) => Some((domain, server, sequence)),
        _ => None,
    }
}

/// What stands between commas and is no GTID of MariaDB's.
fn not_understood(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty() && gtid(part).is_none())
}

/// Whether a MySQL GTID set holds another. What can't be read is not held.
pub fn mysql_covers(reached: &str, wanted: &str) -> bool {
    if !wanted.trim().is_empty() && super::gtid::mysql(wanted).is_err() {
        return false;
    }
    let (reached, wanted) = (intervals(reached), intervals(wanted));
    wanted.iter().all(|(source, wanted)| {
        let reached = reached.get(source).map(Vec::as_slice).unwrap_or_default();
        holds(reached, wanted)
    })
}

fn holds(reached: &[(u64, u64)], wanted: &[(u64, u64)]) -> bool {
    wanted.iter().all(|(first, last)| reached.iter().any(|(from, to)| from <= first && last <= to))
}

/// `uuid[:tag]` → its intervals, joined where they touch. A tag holds for the intervals behind it.
fn intervals(set: &str) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut sources: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for source in set.split(',').map(|source| source.trim().to_ascii_lowercase()) {
        let mut parts = source.split(':').map(str::trim);
        let uuid = parts.next().unwrap_or_default();
        let mut name = uuid.to_owned();
        for part in parts {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse(), last.trim().parse()) {
                (Ok(first), Ok(last)) => sources.entry(name.clone()).or_default().push((first, last)),
                _ => name = format!("{uuid}:{part}"),
            }
        }
    }
    sources.into_iter().map(|(source, intervals)| (source, joined(intervals))).collect()
}

fn joined(mut intervals: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    intervals.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, last) in intervals {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_mariadb_positions_the_last_of_each_domain_counts() {
        assert_eq!(mariadb_furthest("0-100-9,1-100-2", "0-101-7,2-5-3"), "0-100-9,1-100-2,2-5-3");
        assert_eq!(mariadb_furthest("", ""), "");
    }

    #[test]
    fn mariadb_by_domain_and_sequence() {
        assert!(mariadb_covers("0-100-7", "0-100-7"));
        assert!(mariadb_covers("0-101-8", "0-100-7"));
        assert!(mariadb_covers("0-100-7,1-2-9", "1-2-3"));
        assert!(mariadb_covers("0-100-7", ""));
        assert!(mariadb_covers("", ""));
        assert!(!mariadb_covers("", "0-100-1"));
        assert!(!mariadb_covers("0-100-6", "0-100-7"));
        assert!(!mariadb_covers("0-100-7", "0-100-7,1-2-9"));
    }

    /// It was passed over, so that anything had reached it.
    #[test]
    fn what_cannot_be_read_is_never_reached_nor_known() {
        for nonsense in ["nonsense", "0-100", "0-100-7-8", "0-100-7,x", "0-100--7", "99999999999999999999-1-1"] {
            assert!(!mariadb_covers("0-100-99", nonsense), "{nonsense}");
            assert!(!mariadb_unknown(nonsense, "0-100-99", "0-100-99").is_empty(), "{nonsense}");
        }
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        for nonsense in ["nonsense", uuid, "3e11fa47:1", &format!("{uuid}:1-9,x"), &format!("{uuid}:9-1")] {
            assert!(!mysql_covers(&format!("{uuid}:1-99"), nonsense), "{nonsense}");
        }
        assert!(mysql_covers("", "") && mysql_covers("", "\n"));
    }

    #[test]
    fn what_only_one_server_wrote_is_known_by_its_writer() {
        assert_eq!(mariadb_unknown("0-100-7", "0-100-9", ""), [""; 0]);
        assert_eq!(mariadb_unknown("0-101-8,0-100-7", "0-100-9", ""), ["0-101-8"]);
        // A primary that was recovered from a replica has no log of its own yet, but a position.
        assert_eq!(mariadb_unknown("0-100-7", "", "0-100-7"), [""; 0]);
        assert_eq!(mariadb_unknown("0-100-8", "", "0-100-7"), ["0-100-8"]);
    }

    #[test]
    fn mysql_by_intervals() {
        let (a, b) = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "3e11fa47-71ca-11e1-9e33-c80aa9429563");
        let covers = |reached: &str, wanted: &str| {
            mysql_covers(&reached.replace('a', a).replace('b', b), &wanted.replace('a', a).replace('b', b))
        };
        assert!(covers("a:1-9", "a:1-9") && covers("a:1-4:5-9", "a:2-8") && covers("a:1-9", ""));
        assert!(covers("b:1,a:1-9", "a:3:5") && covers("a:1-9:tg:1-2", "a:tg:2"));
        assert!(!covers("a:1-3:5-9", "a:1-9") && !covers("a:1-9", "a:1,b:1") && !covers("a:1-9", "a:tg:1"));
        assert!(!covers("", "a:1"));
    }

    #[test]
    fn mysql_by_tags() {
        let covers = |reached: &str, wanted: &str| {
            let (a, b) = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562");
            mysql_covers(&reached.replace('A', a).replace('B', b), &wanted.replace('A', a).replace('B', b))
        };
        // A tag holds for all intervals behind it, until the next.
        let reached = "A:1-9:blue:1-3:5:green:7,B:_x:1-2";
        for wanted in [
            "A:1-9",
            "A:blue:1-3",
            "A:blue:5",
            "A:blue:2:5",
            "A:green:7",
            "A:4:blue:3:green:7,B:_x:2",
            "A:bLUE:1-3",
            "A:Green:7",
        ] {
            assert!(covers(reached, wanted), "{wanted}");
        }
        for wanted in ["A:blue:4", "A:blue:1-5", "A:green:5", "A:10", "A:red:1", "B:1", "B:blue:1", "A:_x:1"] {
            assert!(!covers(reached, wanted), "{wanted}");
        }
        // In any order and spelling: the servers write it in one way, users in others.
        assert!(covers("A:green:7,A:blue:5,A:blue:1-3,A:1-9", "A:1-9:blue:1-3:5:green:7"));
        assert!(covers("A:1-9 ,\n B : blue : 1 - 3", "B:blue:2"));
        assert!(mysql_covers("3E11FA47-71CA-11E1-9E33-C80AA9429562:1-9", "3e11fa47-71ca-11e1-9e33-c80aa9429562:9"));
    }

    #[test]
    fn files_by_number_then_offset() {
        let at = |file: &str, offset| Position::BinlogFile { file: file.into(), offset };
        let here = at("mysql-bin.000010", 500);
        assert_eq!(here.covers(&at("mysql-bin.000009", 9999)), Some(true));
        assert_eq!(here.covers(&at("mysql-bin.000010", 500)), Some(true));
        assert_eq!(here.covers(&at("mysql-bin.000010", 501)), Some(false));
        assert_eq!(here.covers(&at("mysql-bin.1000000", 4)), Some(false));
        assert_eq!(here.covers(&Position::MariadbGtid { slave_pos: String::new() }), None);
    }
}
