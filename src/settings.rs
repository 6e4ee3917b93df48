//! Settings that have been checked: one plain struct for each command. [`crate::cli`] fills them from flags and variables
//! before a command opens a socket or touches a file.

mod choices;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::datadir::ownership::Owner;
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, ServerId};
use crate::protocol::clone_secret::CloneSecret;
use crate::server::account::{Account, ManagedAccount};
use crate::unpack::Writing;
pub use choices::{Method, OnBrokenReplica, OnHalfMade, OnLostPrimary, Rehearse, WireCompression};

/// How peers of the set find, trust and wait for each other.
#[derive(Clone, Debug)]
pub struct Peering {
    pub secret: Option<CloneSecret>,
    /// Silence after which a peer counts as gone.
    pub stall_timeout: Duration,
    pub wire_compression: WireCompression,
    pub method: Method,
}

/// `mysqlset init-config`, checked.
#[derive(Debug)]
pub struct InitConfig {
    pub member: Member,
    pub server_id: ServerId,
    pub config_map: PathBuf,
    pub conf_dir: PathBuf,
    /// Where this program is put too.
    pub install: Option<PathBuf>,
}

/// `mysqlset clone`, checked.
#[derive(Debug)]
pub struct CloneSettings {
    pub member: Member,
    pub data_dir: PathBuf,
    /// Donors in the order in which they are tried; none on ordinal 0, unless the user names some.
    pub donors: Vec<HostPort>,
    /// The primary's sidecar.
    pub primary: HostPort,
    /// The headless service's name.
    pub service: String,
    pub clone_port: u16,
    pub peering: Peering,
    pub give_up_after: Duration,
    pub owner: Option<Owner>,
    pub on_half_made: OnHalfMade,
    pub on_lost_primary: OnLostPrimary,
    pub on_broken_replica: OnBrokenReplica,
    /// Whether the set's first start is behind it.
    pub set_has_data: bool,
    /// Where the server's configuration files lie.
    pub server_config: PathBuf,
    pub rehearsal: Rehearse,
    /// Whether the backup tool reaches the keys of encrypted data.
    pub keyring: bool,
    /// Whether a stream is taken about which its donor says nothing.
    pub take_unproven_stream: bool,
    /// Bytes of memory for prepare, where the user says so.
    pub prepare_memory: Option<u64>,
    pub writing: Writing,
}

/// `mysqlset sidecar`, checked.
#[derive(Debug)]
pub struct Sidecar {
    pub member: Member,
    pub data_dir: PathBuf,
    pub peering: Peering,
    pub clone_listen: SocketAddr,
    pub http_listen: SocketAddr,
    pub donate_to_anyone: bool,
    /// Whether who says nothing gets a bare stream.
    pub donate_unproven_stream: bool,
    /// Whether a primary is followed that can't say whose data it has.
    pub follow_unproven_primary: bool,
    /// Whether a new database has a mark when it is whole.
    pub first_start_mark: bool,
    /// Where Kubernetes picks up a container's last words.
    pub termination_log: PathBuf,
    /// Where `init-config` has left the server id.
    pub server_config: PathBuf,
    /// The server in this pod.
    pub server: HostPort,
    /// The server that replicas replicate from.
    pub source: HostPort,
    /// The sidecar beside the source; `None` where the source isn't the set's own pod 0.
    pub primary: Option<HostPort>,
    pub sql: Account,
    pub backup: Account,
    pub replication: Account,
    /// The account that copies by MySQL's CLONE plugin come as.
    pub plugin_user: String,
    /// The accounts that the primary's sidecar makes, and keeps at their passwords.
    pub managed: Vec<ManagedAccount>,
    pub max_donor_lag: Duration,
    /// How long a replica whose source refuses its account stays ready.
    pub max_refusal: Duration,
    /// How long a replica stays ready whose receiver waits for the primary's word.
    pub max_held_back: Duration,
    /// What a recipient must take in a second while others wait.
    pub least_rate: u64,
    pub lock_wait: Duration,
    /// Threads of the backup tool.
    pub tool_threads: u16,
    /// Bytes a second that a clone may send.
    pub rate_limit: Option<u64>,
    pub drain_timeout: Duration,
    pub scratch_dir: Option<PathBuf>,
}

/// `mysqlset probe`, checked.
#[derive(Debug)]
pub struct Probe {
    pub question: Question,
    /// Time without an answer that counts as a no.
    pub timeout: Duration,
    /// Time for which it is asked again whether what has not come up yet has.
    pub while_starting: Duration,
}

/// What a probe asks, and whom.
#[derive(Debug)]
pub enum Question {
    /// Whether the server answers.
    Alive { server: HostPort, account: Account },
    /// Whether the sidecar calls this pod ready, and the lag is no more than that.
    Ready { sidecar: SocketAddr, max_lag: Option<Duration> },
}

/// `mysqlset drain`, checked.
#[derive(Debug)]
pub struct Drain {
    pub sidecar: SocketAddr,
    pub limit: Duration,
}
