//! Flags of `mysqlset sidecar`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::accounts::{ManagedArgs, account};
use super::data::DataArgs;
use super::drain::DrainLimit;
use super::peers::{PeerArgs, no_secret_beside};
use super::process::ProcessArgs;
use super::server::ServerArgs;
use super::{address, bytes, heading, time};
use crate::model::host::{HostPort, host};
use crate::model::ordinal::Ordinal;
use crate::settings;

/// A slower rate would never finish a clone.
const LEAST_RATE: u64 = 1 << 10;

#[derive(Args, Debug)]
pub struct SidecarArgs {
    #[command(flatten)]
    pub data: DataArgs,

    #[command(flatten)]
    pub peers: PeerArgs,

    /// Address of the clone port. [::] is every address, IPv4 included.
    #[arg(
        long,
        help_heading = heading::PORTS,
        env = "MYSQLSET_CLONE_LISTEN",
        value_parser = address::parse,
        default_value = "[::]:3307",
        value_name = "ADDRESS:PORT",
    )]
    pub clone_listen: SocketAddr,

    /// Address of health, readiness, metrics and status. [::] is every address, IPv4 included.
    #[arg(
        long,
        help_heading = heading::PORTS,
        env = "MYSQLSET_HTTP_LISTEN",
        value_parser = address::parse,
        default_value = "[::]:8307",
        value_name = "ADDRESS:PORT",
    )]
    pub http_listen: SocketAddr,

    /// Give the whole database to anyone who reaches the clone port. Without this flag or a clone secret every clone is
    /// refused.
    #[arg(
        long,
        help_heading = heading::TRUST,
        env = "MYSQLSET_DONATE_TO_ANYONE",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub donate_to_anyone: bool,

    /// Send the whole database as a legacy stream to anyone who connects and stays silent, such as the tutorial's ncat. The
    /// stream lacks an end mark and a digest. Implies --donate-to-anyone.
    #[arg(
        long,
        help_heading = heading::TUTORIAL,
        env = "MYSQLSET_DONATE_UNPROVEN_STREAM_TO_ANYONE",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub donate_unproven_stream_to_anyone: bool,

    /// Follow a primary whose sidecar is the tutorial's, as long as the local data have no identity. Whether its data are
    /// of the same set stays unknown.
    #[arg(
        long,
        help_heading = heading::TUTORIAL,
        env = "MYSQLSET_FOLLOW_UNPROVEN_PRIMARY",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub follow_unproven_primary: bool,

    /// The server's image leaves .mysqlset-first-start-done in the data directory after it made a new database. A new
    /// database without this mark counts as incomplete.
    #[arg(
        long,
        help_heading = heading::DATA,
        env = "MYSQLSET_FIRST_START_MARK",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub first_start_mark: bool,

    #[command(flatten)]
    pub server: ServerArgs,

    /// Directory of the server's configuration files. Where init-config left a server id in it, the server must have that
    /// id.
    #[arg(
        long,
        help_heading = heading::DATA,
        env = "MYSQLSET_SERVER_CONFIG",
        default_value = "/etc/mysql/conf.d",
        value_name = "DIR",
    )]
    pub server_config: PathBuf,

    /// Host of the source that replicas follow. By default it is pod 0 of the set, as mysql-0.mysql.
    #[arg(long, help_heading = heading::SET, env = "MYSQLSET_SOURCE_HOST", value_name = "HOST")]
    pub source_host: Option<String>,

    /// Port of the source.
    #[arg(long, help_heading = heading::SET, env = "MYSQLSET_SOURCE_PORT", default_value_t = 3306, value_name = "PORT")]
    pub source_port: u16,

    /// Account of the backup tool on the local server.
    #[arg(
        long,
        help_heading = heading::ACCOUNTS,
        env = "MYSQLSET_BACKUP_USER",
        default_value = "root",
        value_name = "NAME",
    )]
    pub backup_user: String,

    /// File with its password (or MYSQLSET_BACKUP_PASSWORD).
    #[arg(long, help_heading = heading::ACCOUNTS, env = "MYSQLSET_BACKUP_PASSWORD_FILE", value_name = "FILE")]
    pub backup_password_file: Option<PathBuf>,

    /// Account of copies by MySQL's CLONE plugin. The primary's sidecar creates it where it is needed.
    #[arg(
        long,
        help_heading = heading::ACCOUNTS,
        env = "MYSQLSET_PLUGIN_USER",
        default_value = "mysqlset-clone",
        value_name = "NAME",
    )]
    pub plugin_user: String,

    /// Account of the replicas on the source.
    #[arg(
        long,
        help_heading = heading::ACCOUNTS,
        env = "MYSQLSET_REPLICATION_USER",
        default_value = "root",
        value_name = "NAME",
    )]
    pub replication_user: String,

    /// File with its password (or MYSQLSET_REPLICATION_PASSWORD).
    #[arg(long, help_heading = heading::ACCOUNTS, env = "MYSQLSET_REPLICATION_PASSWORD_FILE", value_name = "FILE")]
    pub replication_password_file: Option<PathBuf>,

    #[command(flatten)]
    pub managed: ManagedArgs,

    /// Lag above which a replica refuses to be a donor.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_MAX_DONOR_LAG",
        value_parser = time::any,
        default_value = "60s",
        value_name = "TIME",
    )]
    pub max_donor_lag: Duration,

    /// How long a replica stays ready while its source refuses its account (a wrong or expired password, a lock), or
    /// while its applier waits for missing acknowledgements.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_MAX_REFUSAL",
        value_parser = time::any,
        default_value = "60s",
        value_name = "TIME",
    )]
    pub max_refusal: Duration,

    /// How long a replica stays ready while its receiver is held back: the primary's sidecar is there, but leaves open
    /// which set its data are of.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_MAX_HELD_BACK",
        value_parser = time::any,
        default_value = "60s",
        value_name = "TIME",
    )]
    pub max_held_back: Duration,

    /// How long the backup tool may wait for the server's locks.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_LOCK_WAIT",
        value_parser = time::any,
        default_value = "60s",
        value_name = "TIME",
    )]
    pub lock_wait: Duration,

    /// Threads of the backup tool that copy tables. While one waits for the recipient, the others read on.
    #[arg(
        long,
        help_heading = heading::CLONES,
        env = "MYSQLSET_TOOL_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=64),
        default_value_t = 4,
        value_name = "COUNT",
    )]
    pub tool_threads: u16,

    /// Highest rate of a clone, in bytes a second or as 50MiB. By default it is unlimited.
    #[arg(long, help_heading = heading::LIMITS, env = "MYSQLSET_RATE_LIMIT", value_name = "SIZE")]
    pub rate_limit: Option<String>,

    /// Lowest rate of a recipient while others wait, in bytes a second or as 50MiB. A slower one loses its slot after
    /// half a minute. 0 lets it keep the slot.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_LEAST_RATE",
        default_value = "1M",
        value_name = "SIZE",
    )]
    pub least_rate: String,

    #[command(flatten)]
    pub drain: DrainLimit,

    /// Directory for the backup tool's temporary files. By default it is beside the data directory where that is writable,
    /// else the system's.
    #[arg(long, help_heading = heading::DATA, env = "MYSQLSET_SCRATCH_DIR", value_name = "DIR")]
    pub scratch_dir: Option<PathBuf>,
}

impl SidecarArgs {
    pub fn checked(self, process: &ProcessArgs) -> Result<settings::Sidecar> {
        let member = process.member()?;
        let source_host = self.source_host.map(|text| host("--source-host", &text)).transpose()?;
        let source_host = source_host.unwrap_or_else(|| member.peer(Ordinal::PRIMARY, &self.peers.service));
        let peering = self.peers.peering()?;
        let to_anyone = self.donate_unproven_stream_to_anyone;
        no_secret_beside(&peering, to_anyone, "--donate-unproven-stream-to-anyone")?;
        no_secret_beside(&peering, self.follow_unproven_primary, "--follow-unproven-primary")?;
        let backup = account(self.backup_user, self.backup_password_file, "MYSQLSET_BACKUP_PASSWORD")?;
        let replication =
            account(self.replication_user, self.replication_password_file, "MYSQLSET_REPLICATION_PASSWORD")?;
        let server = self.server.server()?;
        let sql = self.server.account()?;
        let is_primary = source_host.split('.').next() == Some(&format!("{}-{}", member.set, Ordinal::PRIMARY));
        let rate_limit = bytes::parse("--rate-limit", self.rate_limit.as_deref(), LEAST_RATE)?;
        Ok(settings::Sidecar {
            member,
            data_dir: self.data.data_dir,
            peering,
            clone_listen: self.clone_listen,
            http_listen: self.http_listen,
            donate_to_anyone: self.donate_to_anyone || to_anyone,
            donate_unproven_stream: to_anyone,
            follow_unproven_primary: self.follow_unproven_primary,
            first_start_mark: self.first_start_mark,
            termination_log: process.termination_log.clone(),
            server_config: self.server_config,
            server,
            primary: is_primary.then(|| HostPort { host: source_host.clone(), port: self.clone_listen.port() }),
            source: HostPort { host: source_host, port: self.source_port },
            managed: self.managed.accounts(&backup, &replication, &sql)?,
            sql,
            backup,
            replication,
            plugin_user: self.plugin_user,
            max_donor_lag: self.max_donor_lag,
            max_refusal: self.max_refusal,
            max_held_back: self.max_held_back,
            lock_wait: self.lock_wait,
            tool_threads: self.tool_threads,
            least_rate: least_rate(&self.least_rate, rate_limit)?,
            rate_limit,
            drain_timeout: self.drain.drain_timeout,
            scratch_dir: self.scratch_dir,
        })
    }
}

/// Keeps the least rate at or below half of our own rate limit, so that a limited recipient does not count as slow.
fn least_rate(text: &str, limit: Option<u64>) -> Result<u64> {
    let least = bytes::parse("--least-rate", Some(text), 0)?.unwrap_or(0);
    Ok(limit.map_or(least, |limit| least.min(limit / 2)))
}
