//! Names: of hosts, of the cluster's domain, and the server that knows them.

use super::{Condition, Hostname, Subject, Surroundings};
use crate::pods::dns;
use crate::pods::manifest::Manifests;

/// Pods whose hostname is their full name.
pub struct FullyQualifiedHostnames;

impl Condition for FullyQualifiedHostnames {
    fn name(&self) -> &'static str {
        "fully-qualified-hostnames"
    }

    fn subject(&self) -> Subject {
        Subject::Hostnames
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.hostname = Hostname::FullyQualified;
    }
}

/// Pods with their node's name, which looks like a pod's.
pub struct HostNetwork;

impl Condition for HostNetwork {
    fn name(&self) -> &'static str {
        "host-network"
    }

    fn subject(&self) -> Subject {
        Subject::Hostnames
    }

    fn change_manifests(&self, manifests: &mut Manifests) {
        manifests.stateful_set.spec.template.spec.host_network = true;
    }
}

/// A cluster whose domain is not `cluster.local`.
pub struct OtherDomain;

impl Condition for OtherDomain {
    fn name(&self) -> &'static str {
        "other-domain"
    }

    fn subject(&self) -> Subject {
        Subject::Domain
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.domain = "k8s.example.org".to_owned();
    }
}

/// A faulty name server.
pub struct NameServer {
    name: &'static str,
    mode: dns::Mode,
}

impl NameServer {
    pub const SLOW: NameServer = NameServer { name: "slow-name-server", mode: dns::Mode::Slow };
    pub const FAILS_AT_FIRST: NameServer =
        NameServer { name: "name-server-fails-at-first", mode: dns::Mode::FailsAtFirst };
    pub const STALE: NameServer = NameServer { name: "stale-name-server", mode: dns::Mode::Stale };
}

impl Condition for NameServer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> Subject {
        Subject::Resolver
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.resolver = self.mode;
        // Kubernetes' own options: each of two questions may take five seconds.
        surroundings.resolver_options = "ndots:5";
        surroundings.patience *= 3;
    }
}
