//! Conditions of the field that any scenario can run under.
//!
//! `FIELD_CONDITION=name,name` selects the conditions of a run; each of its clusters is made under them. A condition
//! changes the manifests (the servers' configuration, variables, limits, mounts). Or it changes the surroundings, which
//! the harness makes around the pods: addresses, names, files. To add one, write its type and put it into [`ALL`].

mod limits;
mod names;
mod storage;
mod strict;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::Shared;
use super::dns;
use super::manifest::Manifests;
use super::network::{Families, Family, V4_ONLY};
pub use limits::Limits;
pub use storage::{Fault, Kind, SIZE, Storage};

/// One condition.
pub trait Condition: Sync {
    /// Its name in `FIELD_CONDITION`.
    fn name(&self) -> &'static str;

    /// Its subject. Conditions of one subject exclude each other.
    fn subject(&self) -> Subject;

    /// The reason why this machine cannot provide it. Then it counts as not run.
    fn why_not(&self) -> Option<String> {
        None
    }

    /// Whether it has an effect only in a set whose accounts have passwords.
    fn needs_accounts(&self) -> bool {
        false
    }

    /// Called when a set is applied, after the scenario's own changes.
    fn change_manifests(&self, _manifests: &mut Manifests) {}

    /// Called before any part of the cluster is made.
    fn change_surroundings(&self, _surroundings: &mut Surroundings) {}
}

/// The subject of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The kinds of addresses that pods have.
    Addresses,
    /// The form of the pods' hostnames.
    Hostnames,
    /// The name of the cluster.
    Domain,
    /// The name server.
    Resolver,
    /// The number of open files.
    Descriptors,
    /// The memory of a container.
    Memory,
    /// The number of processes and threads in a container.
    Processes,
    /// The share of a core for a container.
    Cores,
    /// The files in which the kernel shows these limits.
    Groups,
    /// The servers' configuration.
    Server,
    /// The volumes.
    Volume,
}

/// All conditions.
pub const ALL: &[&dyn Condition] = &[
    &Addresses::V6_ONLY,
    &Addresses::V4_FIRST,
    &Addresses::V6_FIRST,
    &limits::Descriptors::FEW,
    &limits::Descriptors::BILLION,
    &limits::SmallMemory,
    &limits::FewProcesses,
    &limits::TenthOfCore,
    &limits::FirstGroups,
    &strict::Strict::RESOLVES_NAMES,
    &strict::Strict::SHORT_TIMEOUTS,
    &strict::Strict::SQL_MODE,
    &strict::Strict::NO_AUTOCOMMIT,
    &strict::Strict::EVENTS,
    &strict::Strict::SMALL_PACKETS,
    &strict::Strict::FEW_CONNECTIONS,
    &strict::Strict::INIT_CONNECT,
    &strict::Strict::VALIDATION,
    &strict::Strict::SEMI_SYNC,
    &strict::Strict::LIFETIME,
    &storage::OwnDirectories,
    &storage::NoDirect,
    &storage::NoFallocate,
    &storage::Slow,
    &storage::Faulty::READ_ONLY,
    &storage::Faulty::FULL,
    &names::FullyQualifiedHostnames,
    &names::HostNetwork,
    &names::OtherDomain,
    &names::NameServer::SLOW,
    &names::NameServer::FAILS_AT_FIRST,
    &names::NameServer::STALE,
];

/// The harness's surroundings of the pods.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub families: Families,
    /// The cluster's domain, by default `cluster.local`.
    pub domain: String,
    pub hostname: Hostname,
    /// The name server's behaviour at first.
    pub resolver: dns::Mode,
    /// The resolver options in `/etc/resolv.conf`. By default it gives up sooner than in Kubernetes.
    pub resolver_options: &'static str,
    /// Files that every container finds in `/etc`, with their names.
    pub etc: BTreeMap<&'static str, String>,
    pub limits: Limits,
    pub storage: Storage,
    /// The first statement in each session of the tests' own client.
    pub client: String,
    /// A factor for all timeouts.
    pub patience: u32,
    /// Whether volumes must not lie in memory.
    pub on_disk: bool,
}

impl Default for Surroundings {
    /// The surroundings for which most scenarios were written.
    fn default() -> Surroundings {
        Surroundings {
            families: V4_ONLY,
            domain: "cluster.local".to_owned(),
            hostname: Hostname::Pods,
            resolver: dns::Mode::Works,
            resolver_options: "ndots:5 timeout:1 attempts:2",
            etc: BTreeMap::new(),
            limits: Limits::default(),
            storage: Storage::default(),
            client: String::new(),
            patience: patience(),
            on_disk: false,
        }
    }
}

/// `PATIENCE=n`, for a busy machine.
fn patience() -> u32 {
    let text = std::env::var("PATIENCE").unwrap_or_default();
    text.parse().ok().filter(|times| *times > 0).unwrap_or(1)
}

impl Surroundings {
    /// The surroundings under these conditions.
    pub fn under(conditions: &[&dyn Condition]) -> Surroundings {
        let mut surroundings = Surroundings::default();
        conditions.iter().for_each(|condition| condition.change_surroundings(&mut surroundings));
        surroundings
    }
}

/// The hostname that a pod sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// The name of the pod itself.
    Pods,
    /// The same with service, namespace and domain. (`setHostnameAsFQDN`)
    FullyQualified,
}

impl Hostname {
    pub fn of(self, pod: &str, cluster: &Shared) -> String {
        match self {
            Hostname::Pods => pod.to_owned(),
            Hostname::FullyQualified => cluster.fully_qualified(pod),
        }
    }
}

/// The conditions that `FIELD_CONDITION` names.
pub fn of_this_run() -> &'static [&'static dyn Condition] {
    static NAMED: OnceLock<Vec<&'static dyn Condition>> = OnceLock::new();
    NAMED.get_or_init(|| {
        let names = std::env::var("FIELD_CONDITION").unwrap_or_default();
        named(&names).unwrap_or_else(|error| panic!("FIELD_CONDITION={names}: {error:#}"))
    })
}

/// The bridge's address in this run, on which a scenario can listen. It is known before the cluster exists.
pub fn bridge() -> IpAddr {
    Surroundings::under(of_this_run()).families[0].bridge()
}

/// Conditions by their names, including those that this machine cannot provide.
pub fn known(names: &[impl AsRef<str>]) -> Result<Vec<&'static dyn Condition>> {
    let all = || ALL.iter().map(|condition| condition.name()).collect::<Vec<_>>().join(", ");
    let find = |name: &str| {
        let found = ALL.iter().find(|condition| condition.name() == name).copied();
        found.with_context(|| format!("there is no condition {name:?}; there are {}", all()))
    };
    names.iter().map(|name| find(name.as_ref())).collect()
}

/// Conditions by their names, separated by commas. All are possible here, and none excludes another.
pub fn named(names: &str) -> Result<Vec<&'static dyn Condition>> {
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let mut found: Vec<&'static dyn Condition> = Vec::new();
    for condition in known(&names)? {
        let name = condition.name();
        if let Some(why) = condition.why_not() {
            anyhow::bail!("{name} cannot be made on this machine: {why}");
        }
        let meets = found.iter().find(|other| other.subject() == condition.subject());
        ensure!(meets.is_none(), "{name} and {} exclude each other", meets.map_or("", |other| other.name()));
        found.push(condition);
    }
    Ok(found)
}

/// Whether this machine's kernel has IPv6.
pub fn machine_has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Pods that have IPv6 addresses, alone or beside IPv4's.
struct Addresses {
    name: &'static str,
    families: Families,
}

impl Addresses {
    const V6_ONLY: Addresses = Addresses { name: "ipv6-only", families: &[Family::V6] };
    const V4_FIRST: Addresses = Addresses { name: "dual-v4-first", families: &[Family::V4, Family::V6] };
    const V6_FIRST: Addresses = Addresses { name: "dual-v6-first", families: &[Family::V6, Family::V4] };
}

impl Condition for Addresses {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> Subject {
        Subject::Addresses
    }

    fn why_not(&self) -> Option<String> {
        (!machine_has_ipv6()).then(|| "its kernel has no IPv6".to_owned())
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.families = self.families;
        if self.families[0] == Family::V4 {
            // By default the C library prefers IPv6, independent of the order of the answers. (gai.conf(5))
            surroundings.etc.insert("gai.conf", "precedence ::ffff:0:0/96 100\n".to_owned());
        }
    }
}
