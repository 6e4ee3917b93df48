//! Flags and variables. Each flag `--some-name` has the variable `MYSQLSET_SOME_NAME`; with none set, each command
//! does what the Kubernetes tutorial's script did, in the tutorial's paths.
//!
//! Secrets have no flag: a flag would show them in the list of processes. They come from `MYSQLSET_…` variables or
//! from files that `--…-file` flags name, and are read in [`crate::settings`].

mod address;
mod seconds;
mod visitors;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use visitors::{DrainArgs, ProbeArgs, Question, ReadyArgs, SidecarAddress};

/// Runs MySQL and MariaDB replicas in a StatefulSet: configuration, clones, replication.
#[derive(Parser, Debug)]
#[command(name = "mysqlset", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Writes the server's configuration for this pod: server-id.cnf and the role's file (init container).
    InitConfig(InitConfigArgs),
    /// Fills an empty data directory with a clone of another pod's data (init container).
    Clone(CloneArgs),
    /// Starts replication, then serves clones, health and metrics for ever (container beside the server).
    Sidecar(Box<SidecarArgs>),
    /// Copies this program into a directory, for containers of images that don't have it (init container).
    Install(InstallArgs),
    /// Asks this pod's server or sidecar how it is: exit code 0, or 1 and why not (probes).
    Probe(ProbeArgs),
    /// Waits while this pod's sidecar serves a clone, which would break off if its server stopped now (preStop hook of the
    /// server).
    Drain(DrainArgs),
    /// Prints a link to all that this pod's sidecar knows, valid for ten minutes: to be opened behind kubectl port-forward.
    Link(SidecarAddress),
}

/// What every command takes.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// This pod's name; the machine's hostname where not given.
    #[arg(long, global = true, env = "MYSQLSET_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// How log lines look.
    #[arg(long, global = true, env = "MYSQLSET_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also by module, as in "info,mysqlset::donor=debug".
    #[arg(long, global = true, env = "MYSQLSET_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// Where the reason of a failure is left for Kubernetes.
    #[arg(
        long,
        global = true,
        env = "MYSQLSET_TERMINATION_LOG",
        default_value = "/dev/termination-log",
        value_name = "FILE"
    )]
    pub termination_log: PathBuf,
}

/// The form of log lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Args, Debug)]
pub struct InitConfigArgs {
    /// Directory of the mounted ConfigMap.
    #[arg(long, env = "MYSQLSET_CONFIG_MAP", default_value = "/mnt/config-map", value_name = "DIR")]
    pub config_map: PathBuf,

    /// Directory that the server reads its configuration from.
    #[arg(long, env = "MYSQLSET_CONF_DIR", default_value = "/mnt/conf.d", value_name = "DIR")]
    pub conf_dir: PathBuf,

    /// Server id of ordinal 0; ordinal N gets this plus N.
    #[arg(long, env = "MYSQLSET_SERVER_ID_OFFSET", default_value_t = 100, value_name = "N")]
    pub server_id_offset: u32,

    /// Directory that gets this program too, as `install` does it: one container less.
    #[arg(long, env = "MYSQLSET_INSTALL", value_name = "DIR")]
    pub install: Option<PathBuf>,
}

/// Where the data lie.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// The server's data directory.
    #[arg(long, env = "MYSQLSET_DATA_DIR", default_value = "/var/lib/mysql", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// What both ends of a clone must agree on.
#[derive(Args, Debug)]
pub struct PeerArgs {
    /// Name of the headless service, by which pods know each other: mysql-0.SERVICE.
    #[arg(long, env = "MYSQLSET_SERVICE", default_value = "mysql", value_name = "NAME")]
    pub service: String,

    /// File with the secret that donor and recipient must share (or MYSQLSET_CLONE_SECRET).
    #[arg(long, env = "MYSQLSET_CLONE_SECRET_FILE", value_name = "FILE")]
    pub clone_secret_file: Option<PathBuf>,

    /// How a clone is made.
    #[arg(long, env = "MYSQLSET_METHOD", value_enum, default_value = "auto")]
    pub method: Method,

    /// Silence after which a peer counts as gone, in seconds.
    #[arg(long, env = "MYSQLSET_STALL_TIMEOUT", default_value_t = 30, value_name = "SECONDS",
          value_parser = seconds::some())]
    pub stall_timeout: u64,

    /// Pack clones with zstd on the wire, where both ends say "auto" or "on"; the donor's word decides which. "auto"
    /// packs where that turns out to be quicker.
    #[arg(long, env = "MYSQLSET_WIRE_COMPRESSION", value_enum, default_value = "off")]
    pub wire_compression: WireCompression,
}

/// How a clone is made.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By a backup tool where there is one that fits the server, else by MySQL's CLONE plugin.
    #[default]
    Auto,
    /// By XtraBackup or mariadb-backup.
    BackupTool,
    /// By MySQL's CLONE plugin, since MySQL 8.0.17.
    ClonePlugin,
}

/// Whether clones are packed on the wire.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireCompression {
    /// Never.
    #[default]
    Off,
    /// Where it is measured to be quicker.
    Auto,
    /// Always.
    On,
}

#[derive(Args, Debug)]
pub struct CloneArgs {
    #[command(flatten)]
    pub data: DataArgs,

    #[command(flatten)]
    pub peers: PeerArgs,

    /// Port of the donors' sidecars.
    #[arg(long, env = "MYSQLSET_CLONE_PORT", default_value_t = 3307, value_name = "PORT")]
    pub clone_port: u16,

    /// Donor to clone from instead of the lower ordinals, HOST or HOST:PORT; may be repeated, tried in order.
    #[arg(long, env = "MYSQLSET_DONOR", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub donor: Vec<String>,

    /// Time without any progress after which the clone is given up, in seconds.
    #[arg(long, env = "MYSQLSET_GIVE_UP_AFTER", default_value_t = 600, value_name = "SECONDS", value_parser = seconds::any())]
    pub give_up_after: u64,

    /// Whose the data directory shall be when run as root, USER[:GROUP] as numbers.
    #[arg(long, env = "MYSQLSET_OWNER", value_name = "UID[:GID]")]
    pub owner: Option<String>,

    /// What to do with a data directory that is half a copy, or half of a primary's first start.
    #[arg(long, env = "MYSQLSET_ON_HALF_MADE", value_enum, default_value = "refuse")]
    pub on_half_made: OnHalfMade,

    /// What ordinal 0 does with an empty volume while other pods of the set hold data, or may hold some.
    #[arg(long, env = "MYSQLSET_ON_LOST_PRIMARY", value_enum, default_value = "refuse")]
    pub on_lost_primary: OnLostPrimary,

    /// The set's first start is behind it: an empty ordinal 0 makes no new database, even where no other pod answers.
    #[arg(long, env = "MYSQLSET_SET_HAS_DATA", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub set_has_data: bool,

    /// What to do with a replica's data whose replication can't go on: the source has purged what it needs, or its relay
    /// logs are lost.
    #[arg(long, env = "MYSQLSET_ON_BROKEN_REPLICA", value_enum, default_value = "keep")]
    pub on_broken_replica: OnBrokenReplica,

    /// Directory with the server's configuration files, for what a clone depends on: page size, places, keys.
    #[arg(long, env = "MYSQLSET_SERVER_CONFIG", default_value = "/etc/mysql/conf.d", value_name = "DIR")]
    pub server_config: PathBuf,

    /// Whether the server here is started on each copy, and opens every table, before the copy is published.
    #[arg(long, env = "MYSQLSET_REHEARSAL", value_enum, default_value = "auto")]
    pub rehearsal: Rehearse,

    /// The backup tool here reaches the keys of encrypted data. Without this no clone of encrypted data is taken.
    #[arg(long, env = "MYSQLSET_KEYRING", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub keyring: bool,

    /// Take the backup stream of a donor that is no mysqlset, such as the tutorial's ncat: without proof of who sends it,
    /// without an end mark, without a digest.
    #[arg(long, env = "MYSQLSET_TAKE_UNPROVEN_STREAM", action = ArgAction::SetTrue,
          value_parser = BoolishValueParser::new())]
    pub take_unproven_stream: bool,

    /// Memory for prepare, in bytes, or with K, M or G; by default by the container's memory limit and the length of the log.
    #[arg(long, env = "MYSQLSET_PREPARE_MEMORY", value_name = "BYTES")]
    pub prepare_memory: Option<String>,

    /// Write the clone through the page cache instead of past it (O_DIRECT), for storage that is slow without.
    #[arg(long, env = "MYSQLSET_CACHED_WRITES", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub cached_writes: bool,
}

/// Whether a copy is rehearsed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearse {
    /// Where PATH has a server program.
    Auto,
    /// Never.
    Off,
}

/// What `clone` does about data that cannot be trusted.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHalfMade {
    /// Stop, touch nothing.
    Refuse,
    /// Rename it to a dot-directory beside the data directory and start with an empty one.
    SetAside,
}

/// What `clone` does on ordinal 0 about a volume that is empty and should not be.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostPrimary {
    /// Stop, and say what was found.
    Refuse,
    /// Clone from the replica that has come furthest, or from --donor.
    Recover,
    /// Make a new database all the same; replicas of the old one will follow nobody.
    StartAnew,
}

/// What `clone` does about a replica that can't go on.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBrokenReplica {
    /// Leave the data alone; the pod starts, and is not ready.
    Keep,
    /// Clone beside them where GTIDs tell that the primary has all of them, and put the whole clone in their place; at most
    /// once a day.
    CloneAgain,
}

/// The server in this pod, and who `mysqlset` is there.
#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Address of the local server.
    #[arg(long, env = "MYSQLSET_SERVER_HOST", default_value = "127.0.0.1", value_name = "HOST")]
    pub server_host: String,

    /// Port of the local server.
    #[arg(long, env = "MYSQLSET_SERVER_PORT", default_value_t = 3306, value_name = "PORT")]
    pub server_port: u16,

    /// The local server's socket, through which the account for SQL is let in instead of over TCP: by a plugin that asks
    /// for no password, as whom this process runs.
    #[arg(long, env = "MYSQLSET_SERVER_SOCKET", value_name = "FILE")]
    pub server_socket: Option<PathBuf>,

    /// Account for the sidecar's own SQL on the local server.
    #[arg(long, env = "MYSQLSET_SQL_USER", default_value = "root", value_name = "NAME")]
    pub sql_user: String,

    /// File with its password (or MYSQLSET_SQL_PASSWORD).
    #[arg(long, env = "MYSQLSET_SQL_PASSWORD_FILE", value_name = "FILE")]
    pub sql_password_file: Option<PathBuf>,
}

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

/// How long a clone keeps its donor from ending.
#[derive(Args, Debug)]
pub struct DrainLimit {
    /// How long a running clone may go on when the pod is to end, in seconds; keep it below the pod's grace period.
    #[arg(long, env = "MYSQLSET_DRAIN_TIMEOUT", default_value_t = 90, value_name = "SECONDS", value_parser = seconds::any())]
    pub drain_timeout: u64,
}

/// The accounts that the set makes for itself.
#[derive(Args, Debug)]
pub struct ManagedArgs {
    /// On the primary, make the accounts for backup, replication and monitoring with the privileges that they need, and set
    /// their passwords, and root's, to those given whenever one changes.
    #[arg(long, env = "MYSQLSET_MANAGE_ACCOUNTS", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub manage_accounts: bool,

    /// Account to be made for whoever watches the servers.
    #[arg(long, env = "MYSQLSET_MONITORING_USER", default_value = "monitoring", value_name = "NAME")]
    pub monitoring_user: String,

    /// File with its password (or MYSQLSET_MONITORING_PASSWORD); without one there is no such account.
    #[arg(long, env = "MYSQLSET_MONITORING_PASSWORD_FILE", value_name = "FILE")]
    pub monitoring_password_file: Option<PathBuf>,

    /// File with the password that root shall have (or MYSQLSET_ROOT_PASSWORD); without one it is left alone.
    #[arg(long, env = "MYSQLSET_ROOT_PASSWORD_FILE", value_name = "FILE")]
    pub root_password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Directory that gets the program, a volume that the other containers mount too.
    #[arg(long, env = "MYSQLSET_TO", default_value = "/mysqlset", value_name = "DIR")]
    pub to: PathBuf,
}
