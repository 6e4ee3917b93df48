//! Flags of `mysqlset clone`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::data::DataArgs;
use super::peers::PeerArgs;
use super::seconds;

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
