//! Derives this pod's place from its hostname: set, ordinal, role, server id and names of peers.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::model::exit::Reason;

/// A pod's number in its StatefulSet. Ordinal 0 is the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordinal(pub u32);

impl Ordinal {
    /// The ordinal whose pod is the primary.
    pub const PRIMARY: Ordinal = Ordinal(0);

    /// The role of this ordinal's server in the set.
    pub fn role(self) -> Role {
        if self == Ordinal::PRIMARY { Role::Primary } else { Role::Replica }
    }

    /// The ordinals that may donate to this one, the nearest first, the primary last.
    pub fn donors(self) -> impl Iterator<Item = Ordinal> {
        (0..self.0).rev().map(Ordinal)
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The role of a server in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Takes the writes; every other server's source.
    Primary,
    /// Follows the primary.
    Replica,
}

/// MySQL's `server_id`: 1 … 2³²−1. (MySQL reference manual, "server_id"; 0 refuses all replication.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId(u32);

impl ServerId {
    /// `offset` + ordinal. Fails if MySQL forbids the result.
    pub fn new(offset: u32, ordinal: Ordinal) -> Result<ServerId> {
        match offset.checked_add(ordinal.0) {
            Some(0) => Err(Reason::Identity
                .error("server id 0 is not allowed by MySQL: give --server-id-offset a value of 1 or more")),
            Some(id) => Ok(ServerId(id)),
            None => Err(Reason::Identity.error(format!(
                "server id {offset} + {ordinal} is above MySQL's largest, {}: lower --server-id-offset",
                u32::MAX
            ))),
        }
    }
}

impl ServerId {
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A pod's place: its set and its ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The StatefulSet's name.
    pub set: String,
    /// The pod's number in it.
    pub ordinal: Ordinal,
}

impl Member {
    /// Reads `mysql-12` (or `mysql-12.mysql.default.svc.cluster.local`) as set `mysql`, ordinal 12.
    pub fn from_hostname(hostname: &str) -> Result<Member> {
        let name = hostname.split('.').next().unwrap_or_default();
        let no_ordinal = || {
            Reason::Identity.error(format!(
                "hostname {hostname:?} must end in an ordinal like mysql-0: run this in a StatefulSet's pod, \
                 or set MYSQLSET_HOSTNAME"
            ))
        };
        let (set, digits) = name.rsplit_once('-').ok_or_else(no_ordinal)?;
        if set.is_empty() || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no_ordinal());
        }
        let ordinal = digits.parse().map_err(|_| {
            Reason::Identity.error(format!(
                "ordinal {digits} of hostname {hostname:?} is above the largest possible server id, {}",
                u32::MAX
            ))
        })?;
        Ok(Member { set: set.to_owned(), ordinal: Ordinal(ordinal) })
    }

    /// The role of this pod's server in the set.
    pub fn role(&self) -> Role {
        self.ordinal.role()
    }

    /// The DNS name of a pod of this set: `mysql-1.mysql` behind the headless service `mysql`.
    pub fn peer(&self, ordinal: Ordinal, service: &str) -> String {
        format!("{}-{ordinal}.{service}", self.set)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.set, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    fn member(hostname: &str) -> Member {
        Member::from_hostname(hostname).unwrap()
    }

    #[test]
    fn reads_set_and_ordinal() {
        assert_eq!(member("mysql-0"), Member { set: "mysql".into(), ordinal: Ordinal(0) });
        assert_eq!(member("my-db-12"), Member { set: "my-db".into(), ordinal: Ordinal(12) });
        assert_eq!(member("mysql-3.mysql.default.svc.cluster.local").ordinal, Ordinal(3));
    }

    #[test]
    fn refuses_hostnames_without_an_ordinal() {
        for hostname in ["", "mysql", "mysql-", "-1", "mysql-one", "mysql-1a", "mysql-+1", "mysql--", "mysql.svc-1"] {
            let error = Member::from_hostname(hostname).unwrap_err();
            assert_eq!(reason_of(&error), Some(Reason::Identity), "{hostname:?}");
            assert!(error.to_string().contains(&format!("{hostname:?}")), "{error}");
        }
    }

    #[test]
    fn refuses_an_ordinal_that_no_server_id_can_hold() {
        assert!(Member::from_hostname("mysql-4294967296").is_err());
        assert!(Member::from_hostname("mysql-99999999999999999999999").is_err());
    }

    #[test]
    fn server_ids_stay_in_mysqls_range() {
        assert_eq!(ServerId::new(100, Ordinal(2)).unwrap().to_string(), "102");
        assert_eq!(ServerId::new(0, Ordinal(1)).unwrap().to_string(), "1");
        assert_eq!(ServerId::new(u32::MAX, Ordinal(0)).unwrap().to_string(), "4294967295");
        assert!(ServerId::new(0, Ordinal(0)).is_err());
        assert!(ServerId::new(u32::MAX, Ordinal(1)).is_err());
        assert!(ServerId::new(100, Ordinal(u32::MAX - 99)).is_err());
    }

    #[test]
    fn donors_are_the_nearest_first_and_the_primary_last() {
        let donors: Vec<u32> = Ordinal(3).donors().map(|ordinal| ordinal.0).collect();
        assert_eq!(donors, [2, 1, 0]);
        assert_eq!(Ordinal(0).donors().count(), 0);
    }

    #[test]
    fn names_its_peers() {
        assert_eq!(member("mysql-2").peer(Ordinal(1), "mysql"), "mysql-1.mysql");
    }
}
