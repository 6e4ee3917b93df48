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
    /// A peer counts as gone after this long a silence.
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
    /// A second place for this program's file.
    pub install: Option<PathBuf>,
}

/// `mysqlset clone`, checked.
#[derive(Debug)]
pub struct CloneSettings {
    pub member: Member,
    pub data_dir: PathBuf,
    /// Donors in the order in which they are tried. Ordinal 0 has some only where the user names them.
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
    /// Whether the set has completed its first start.
    pub set_has_data: bool,
    /// The directory of the server's configuration files.
    pub server_config: PathBuf,
    pub rehearsal: Rehearse,
    /// Whether the backup tool can reach the keys of encrypted data.
    pub keyring: bool,
    /// Whether to accept a legacy stream, which carries no proof of its end.
    pub take_unproven_stream: bool,
    /// Bytes of memory for prepare, where the user sets them.
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
    /// Whether a legacy recipient gets a legacy stream.
    pub donate_unproven_stream: bool,
    /// Whether to follow a primary that cannot name its set.
    pub follow_unproven_primary: bool,
    /// Whether a first start leaves a mark once the new database is whole.
    pub first_start_mark: bool,
    /// The file from which Kubernetes reads a container's termination message.
    pub termination_log: PathBuf,
    /// The directory into which `init-config` has written the server id.
    pub server_config: PathBuf,
    /// The server in this pod.
    pub server: HostPort,
    /// The server that replicas replicate from.
    pub source: HostPort,
    /// The sidecar beside the source. `None` where the source is another server than the set's own pod 0.
    pub primary: Option<HostPort>,
    pub sql: Account,
    pub backup: Account,
    pub replication: Account,
    /// The account with which recipients copy through MySQL's CLONE plugin.
    pub plugin_user: String,
    /// The accounts that the primary's sidecar creates, and whose passwords it keeps current.
    pub managed: Vec<ManagedAccount>,
    pub max_donor_lag: Duration,
    /// How long a replica stays ready while its source refuses its account.
    pub max_refusal: Duration,
    /// How long a replica stays ready while its receiver waits until the primary reports its set.
    pub max_held_back: Duration,
    /// Bytes a second that a recipient must take while others wait.
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
    /// A missing answer counts as a no after this long.
    pub timeout: Duration,
    /// How long the probe repeats the question while the server or sidecar is still coming up.
    pub while_starting: Duration,
}

/// The question of a probe, and the address it goes to.
#[derive(Debug)]
pub enum Question {
    /// Whether the server answers.
    Alive { server: HostPort, account: Account },
    /// Whether the sidecar reports this pod ready, with at most this lag.
    Ready { sidecar: SocketAddr, max_lag: Option<Duration> },
}

/// `mysqlset drain`, checked.
#[derive(Debug)]
pub struct Drain {
    pub sidecar: SocketAddr,
    pub limit: Duration,
}
