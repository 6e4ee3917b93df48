//! Flags and environment → settings that have been checked, before a socket is opened or a file is touched: one struct for
//! each command. Accounts on servers are in [`accounts`].

mod accounts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::{
    self, CloneArgs, DrainArgs, InitConfigArgs, Method, OnBrokenReplica, OnHalfMade, OnLostPrimary, PeerArgs,
    ProbeArgs, ProcessArgs, Rehearse, ServerArgs, SidecarArgs, WireCompression,
};
use crate::datadir::ownership::Owner;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal, ServerId};
use crate::protocol::clone_secret::CloneSecret;
use crate::server::account::{Account, ManagedAccount};
use crate::unpack::Writing;
use accounts::{account, managed, sql_account};

/// Prepare with less is refused by the tools.
const LEAST_MEMORY: u64 = 1 << 20;

/// Slower than this nothing is ever done.
const LEAST_RATE: u64 = 1 << 10;

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

impl InitConfig {
    pub fn new(args: InitConfigArgs, process: &ProcessArgs) -> Result<InitConfig> {
        let member = member(process)?;
        Ok(InitConfig {
            server_id: ServerId::new(args.server_id_offset, member.ordinal)?,
            member,
            config_map: args.config_map,
            conf_dir: args.conf_dir,
            install: args.install,
        })
    }
}

/// `mysqlset clone`, checked.
#[derive(Debug)]
pub struct Clone {
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

impl Clone {
    pub fn new(args: CloneArgs, process: &ProcessArgs) -> Result<Clone> {
        let member = member(process)?;
        let donors = if args.donor.is_empty() {
            let peers = member.ordinal.donors();
            peers
                .map(|donor| HostPort { host: member.peer(donor, &args.peers.service), port: args.clone_port })
                .collect()
        } else {
            args.donor.iter().map(|text| HostPort::parse(text, args.clone_port)).collect::<Result<_>>()?
        };
        let primary = HostPort { host: member.peer(Ordinal::PRIMARY, &args.peers.service), port: args.clone_port };
        let peering = peering(&args.peers)?;
        no_secret_beside(&peering, args.take_unproven_stream, "--take-unproven-stream")?;
        Ok(Clone {
            primary,
            member,
            data_dir: args.data.data_dir,
            donors,
            peering,
            service: args.peers.service,
            clone_port: args.clone_port,
            give_up_after: Duration::from_secs(args.give_up_after),
            owner: args.owner.as_deref().map(owner).transpose()?,
            on_half_made: args.on_half_made,
            on_lost_primary: args.on_lost_primary,
            on_broken_replica: args.on_broken_replica,
            set_has_data: args.set_has_data,
            server_config: args.server_config,
            rehearsal: args.rehearsal,
            keyring: args.keyring,
            take_unproven_stream: args.take_unproven_stream,
            prepare_memory: bytes("--prepare-memory", args.prepare_memory.as_deref(), LEAST_MEMORY)?,
            writing: if args.cached_writes { Writing::Cached } else { Writing::Direct },
        })
    }
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

impl Sidecar {
    pub fn new(args: SidecarArgs, process: &ProcessArgs) -> Result<Sidecar> {
        let member = member(process)?;
        let source_host = args.source_host.map(|text| crate::model::host::parse("--source-host", &text)).transpose()?;
        let source_host = source_host.unwrap_or_else(|| member.peer(Ordinal::PRIMARY, &args.peers.service));
        let peering = peering(&args.peers)?;
        let to_anyone = args.donate_unproven_stream_to_anyone;
        no_secret_beside(&peering, to_anyone, "--donate-unproven-stream-to-anyone")?;
        no_secret_beside(&peering, args.follow_unproven_primary, "--follow-unproven-primary")?;
        let backup = account(args.backup_user, args.backup_password_file, "MYSQLSET_BACKUP_PASSWORD")?;
        let replication =
            account(args.replication_user, args.replication_password_file, "MYSQLSET_REPLICATION_PASSWORD")?;
        let server = server(&args.server)?;
        let sql = sql_account(args.server)?;
        let is_primary = source_host.split('.').next() == Some(&format!("{}-{}", member.set, Ordinal::PRIMARY));
        let rate_limit = bytes("--rate-limit", args.rate_limit.as_deref(), LEAST_RATE)?;
        Ok(Sidecar {
            member,
            data_dir: args.data.data_dir,
            peering,
            clone_listen: args.clone_listen,
            http_listen: args.http_listen,
            donate_to_anyone: args.donate_to_anyone || to_anyone,
            donate_unproven_stream: to_anyone,
            follow_unproven_primary: args.follow_unproven_primary,
            first_start_mark: args.first_start_mark,
            termination_log: process.termination_log.clone(),
            server_config: args.server_config,
            server,
            primary: is_primary.then(|| HostPort { host: source_host.clone(), port: args.clone_listen.port() }),
            source: HostPort { host: source_host, port: args.source_port },
            managed: managed(args.managed, &backup, &replication, &sql)?,
            sql,
            backup,
            replication,
            plugin_user: args.plugin_user,
            max_donor_lag: Duration::from_secs(args.max_donor_lag),
            max_refusal: Duration::from_secs(args.max_refusal),
            max_held_back: Duration::from_secs(args.max_held_back),
            lock_wait: Duration::from_secs(args.lock_wait),
            tool_threads: args.tool_threads,
            least_rate: least_rate(&args.least_rate, rate_limit)?,
            rate_limit,
            drain_timeout: Duration::from_secs(args.drain.drain_timeout),
            scratch_dir: args.scratch_dir,
        })
    }
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

impl Probe {
    pub fn new(args: ProbeArgs) -> Result<Probe> {
        let question = match args.question {
            cli::Question::Alive(args) => Question::Alive { server: server(&args)?, account: sql_account(args)? },
            cli::Question::Ready(args) => {
                Question::Ready { sidecar: args.sidecar.sidecar, max_lag: args.max_lag.map(Duration::from_secs) }
            }
        };
        Ok(Probe {
            question,
            timeout: Duration::from_secs(args.timeout),
            while_starting: Duration::from_secs(args.while_starting),
        })
    }
}

/// `mysqlset drain`, checked.
#[derive(Debug)]
pub struct Drain {
    pub sidecar: SocketAddr,
    pub limit: Duration,
}

impl Drain {
    pub fn new(args: &DrainArgs) -> Drain {
        Drain { sidecar: args.sidecar.sidecar, limit: Duration::from_secs(args.limit.drain_timeout) }
    }
}

/// The server in this pod.
fn server(args: &ServerArgs) -> Result<HostPort> {
    Ok(HostPort { host: crate::model::host::parse("--server-host", &args.server_host)?, port: args.server_port })
}

fn member(process: &ProcessArgs) -> Result<Member> {
    match &process.hostname {
        Some(name) => Member::from_hostname(name),
        None => {
            let name = hostname::get().context("asking the machine for its hostname")?;
            Member::from_hostname(&name.to_string_lossy())
        }
    }
}

fn peering(args: &PeerArgs) -> Result<Peering> {
    let secret = CloneSecret::read(args.clone_secret_file.as_deref(), "MYSQLSET_CLONE_SECRET")?;
    let stall_timeout = Duration::from_secs(args.stall_timeout);
    Ok(Peering { secret, stall_timeout, wire_compression: args.wire_compression, method: args.method })
}

/// Who has a secret has others prove themselves; with one of these flags somebody need not.
fn no_secret_beside(peering: &Peering, is_set: bool, flag: &str) -> Result<()> {
    match &peering.secret {
        Some(_) if is_set => Err(Reason::Settings.error(format!(
            "{flag} is for peers that can prove nothing, and a clone secret is set, which every peer has to know: keep \
             one of the two"
        ))),
        _ => Ok(()),
    }
}

fn owner(text: &str) -> Result<Owner> {
    let wrong = || Reason::Settings.error(format!("--owner {text:?} is not UID or UID:GID in numbers, like 999:999"));
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    Ok(Owner { uid: uid.parse().map_err(|_| wrong())?, gid: gid.parse().map_err(|_| wrong())? })
}

/// Whom a limit of ours holds back is not slow.
fn least_rate(text: &str, limit: Option<u64>) -> Result<u64> {
    let least = bytes("--least-rate", Some(text), 0)?.unwrap_or(0);
    Ok(limit.map_or(least, |limit| least.min(limit / 2)))
}

/// A number of bytes, `least` or more.
fn bytes(flag: &str, text: Option<&str>, least: u64) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let wrong =
        || Reason::Settings.error(format!("{flag} {text:?} is not a number of bytes like 512M, {least} or more"));
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|bytes| *bytes >= least).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unproven_and_a_secret_exclude_each_other() {
        let peering = |secret: Option<&str>| Peering {
            secret: secret.map(CloneSecret::fixed),
            stall_timeout: Duration::from_secs(30),
            wire_compression: WireCompression::Off,
            method: Method::Auto,
        };
        assert!(no_secret_beside(&peering(None), true, "--flag").is_ok());
        assert!(no_secret_beside(&peering(Some("geheim und sehr lang")), false, "--flag").is_ok());
        let error = no_secret_beside(&peering(Some("geheim und sehr lang")), true, "--flag").unwrap_err();
        assert_eq!(crate::model::exit::reason_of(&error), Some(Reason::Settings));
        assert!(error.to_string().contains("--flag") && !error.to_string().contains("geheim"), "{error}");
    }

    #[test]
    fn owners_and_sizes() {
        assert_eq!(owner("999").unwrap(), Owner { uid: 999, gid: 999 });
        assert_eq!(owner("1:2").unwrap(), Owner { uid: 1, gid: 2 });
        assert!(owner("mysql").is_err());
        let parsed = |text| bytes("--prepare-memory", Some(text), 1 << 20);
        assert_eq!(parsed("512M").unwrap(), Some(512 << 20));
        assert_eq!(parsed("1048576").unwrap(), Some(1 << 20));
        assert_eq!(bytes("--rate-limit", None, 1).unwrap(), None);
        for wrong in ["", "M", "-1", "1x", "99999999999G", "1K"] {
            assert!(parsed(wrong).unwrap_err().to_string().contains("--prepare-memory"), "{wrong}");
        }
    }
}
