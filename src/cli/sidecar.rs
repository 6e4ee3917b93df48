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
use super::{address, bytes, seconds};
use crate::model::host::{HostPort, host};
use crate::model::ordinal::Ordinal;
use crate::settings;

/// Slower than this nothing is ever done.
const LEAST_RATE: u64 = 1 << 10;

#[derive(Args, Debug)]
pub struct SidecarArgs {
    #[command(flatten)]
    pub data: DataArgs,

    #[command(flatten)]
    pub peers: PeerArgs,

    /// Address that clones are served on; [::] is every address, IPv4's too.
    #[arg(long, env = "MYSQLSET_CLONE_LISTEN", default_value = "[::]:3307", value_name = "ADDRESS:PORT",
          value_parser = address::parse)]
    pub clone_listen: SocketAddr,

    /// Address of health, readiness, metrics and status; [::] is every address, IPv4's too.
    #[arg(long, env = "MYSQLSET_HTTP_LISTEN", default_value = "[::]:8307", value_name = "ADDRESS:PORT",
          value_parser = address::parse)]
    pub http_listen: SocketAddr,

    /// Give the whole database to anyone who can reach the clone port. Without this or a secret no clone is served.
    #[arg(long, env = "MYSQLSET_DONATE_TO_ANYONE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub donate_to_anyone: bool,

    /// Send the bare backup stream of the whole database to anyone who connects and says nothing, such as the tutorial's
    /// ncat: without an end mark or a digest. Implies --donate-to-anyone.
    #[arg(long, env = "MYSQLSET_DONATE_UNPROVEN_STREAM_TO_ANYONE", action = ArgAction::SetTrue,
          value_parser = BoolishValueParser::new())]
    pub donate_unproven_stream_to_anyone: bool,

    /// Follow a primary whose sidecar is no mysqlset but the tutorial's, as long as these data have no identity: without
    /// knowing whether its data are of the same set.
    #[arg(long, env = "MYSQLSET_FOLLOW_UNPROVEN_PRIMARY", action = ArgAction::SetTrue,
          value_parser = BoolishValueParser::new())]
    pub follow_unproven_primary: bool,

    /// The server's image leaves .mysqlset-first-start-done in the data directory when it has made a new database: one
    /// without that mark is not taken for whole.
    #[arg(long, env = "MYSQLSET_FIRST_START_MARK", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub first_start_mark: bool,

    #[command(flatten)]
    pub server: ServerArgs,

    /// Directory with the server's configuration files, where init-config has left the server id. Where that file is there,
    /// the server must have that id.
    #[arg(long, env = "MYSQLSET_SERVER_CONFIG", default_value = "/etc/mysql/conf.d", value_name = "DIR")]
    pub server_config: PathBuf,

    /// Host that replicas replicate from; by default pod 0 of the set, mysql-0.mysql.
    #[arg(long, env = "MYSQLSET_SOURCE_HOST", value_name = "HOST")]
    pub source_host: Option<String>,

    /// Port of the source.
    #[arg(long, env = "MYSQLSET_SOURCE_PORT", default_value_t = 3306, value_name = "PORT")]
    pub source_port: u16,

    /// Account that the backup tool uses on the local server.
    #[arg(long, env = "MYSQLSET_BACKUP_USER", default_value = "root", value_name = "NAME")]
    pub backup_user: String,

    /// File with its password (or MYSQLSET_BACKUP_PASSWORD).
    #[arg(long, env = "MYSQLSET_BACKUP_PASSWORD_FILE", value_name = "FILE")]
    pub backup_password_file: Option<PathBuf>,

    /// Account that copies by MySQL's CLONE plugin come as; the primary's sidecar makes it where it is needed.
    #[arg(long, env = "MYSQLSET_PLUGIN_USER", default_value = "mysqlset-clone", value_name = "NAME")]
    pub plugin_user: String,

    /// Account that replicas use on the source.
    #[arg(long, env = "MYSQLSET_REPLICATION_USER", default_value = "root", value_name = "NAME")]
    pub replication_user: String,

    /// File with its password (or MYSQLSET_REPLICATION_PASSWORD).
    #[arg(long, env = "MYSQLSET_REPLICATION_PASSWORD_FILE", value_name = "FILE")]
    pub replication_password_file: Option<PathBuf>,

    #[command(flatten)]
    pub managed: ManagedArgs,

    /// Lag above which a replica donates to nobody, in seconds.
    #[arg(long, env = "MYSQLSET_MAX_DONOR_LAG", default_value_t = 60, value_name = "SECONDS", value_parser = seconds::any())]
    pub max_donor_lag: u64,

    /// How long a replica stays ready whose source refuses its account (a wrong or expired password, a lock), or whose applier
    /// waits for acknowledgements that nobody gives, in seconds.
    #[arg(long, env = "MYSQLSET_MAX_REFUSAL", default_value_t = 60, value_name = "SECONDS", value_parser = seconds::any())]
    pub max_refusal: u64,

    /// How long a replica stays ready whose receiver is held back because the primary's sidecar, which is there, does not say which
    /// set its data are of, in seconds.
    #[arg(long, env = "MYSQLSET_MAX_HELD_BACK", default_value_t = 60, value_name = "SECONDS", value_parser = seconds::any())]
    pub max_held_back: u64,

    /// How long the backup tool may wait for the server's locks, in seconds.
    #[arg(long, env = "MYSQLSET_LOCK_WAIT", default_value_t = 60, value_name = "SECONDS", value_parser = seconds::any())]
    pub lock_wait: u64,

    /// Threads of the backup tool that copy tables: while one waits for the recipient, the others read on.
    #[arg(long, env = "MYSQLSET_TOOL_THREADS", default_value_t = 4, value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub tool_threads: u16,

    /// The most that a clone may send, in bytes a second, or with K, M or G; by default there is no limit.
    #[arg(long, env = "MYSQLSET_RATE_LIMIT", value_name = "BYTES")]
    pub rate_limit: Option<String>,

    /// The least that a recipient must take while others wait, in bytes a second, or with K, M or G: one that takes less for half a
    /// minute loses its turn. 0 leaves it its turn.
    #[arg(long, env = "MYSQLSET_LEAST_RATE", value_name = "BYTES", default_value = "1M")]
    pub least_rate: String,

    #[command(flatten)]
    pub drain: DrainLimit,

    /// Directory for the backup tool's temporary files; by default beside the data directory where that can be
    /// written, else the system's.
    #[arg(long, env = "MYSQLSET_SCRATCH_DIR", value_name = "DIR")]
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
            max_donor_lag: Duration::from_secs(self.max_donor_lag),
            max_refusal: Duration::from_secs(self.max_refusal),
            max_held_back: Duration::from_secs(self.max_held_back),
            lock_wait: Duration::from_secs(self.lock_wait),
            tool_threads: self.tool_threads,
            least_rate: least_rate(&self.least_rate, rate_limit)?,
            rate_limit,
            drain_timeout: Duration::from_secs(self.drain.drain_timeout),
            scratch_dir: self.scratch_dir,
        })
    }
}

/// Whom a limit of ours holds back is not slow.
fn least_rate(text: &str, limit: Option<u64>) -> Result<u64> {
    let least = bytes::parse("--least-rate", Some(text), 0)?.unwrap_or(0);
    Ok(limit.map_or(least, |limit| least.min(limit / 2)))
}
