//! Flags of `mysqlset clone`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::data::DataArgs;
use super::peers::{PeerArgs, no_secret_beside};
use super::process::ProcessArgs;
use super::{bytes, heading, time};
use crate::datadir::ownership::Owner;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::ordinal::Ordinal;
use crate::settings::{self, OnBrokenReplica, OnHalfMade, OnLostPrimary, Rehearse};
use crate::unpack::Writing;

/// The tools refuse to prepare with less.
const LEAST_MEMORY: u64 = 1 << 20;

#[derive(Args, Debug)]
pub struct CloneArgs {
    #[command(flatten)]
    pub data: DataArgs,

    #[command(flatten)]
    pub peers: PeerArgs,

    /// Clone port of the donors.
    #[arg(long, help_heading = heading::SET, env = "MYSQLSET_CLONE_PORT", default_value_t = 3307, value_name = "PORT")]
    pub clone_port: u16,

    /// Donor to clone from, instead of the lower ordinals. Several are asked in order: repeat the flag, or use commas.
    #[arg(long, help_heading = heading::SET, env = "MYSQLSET_DONOR", value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub donor: Vec<String>,

    /// Time without any progress after which the clone is given up.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_GIVE_UP_AFTER",
        value_parser = time::any,
        default_value = "10min",
        value_name = "TIME",
    )]
    pub give_up_after: Duration,

    /// Owner of the data directory when run as root, in numbers.
    #[arg(long, help_heading = heading::DATA, env = "MYSQLSET_OWNER", value_name = "UID[:GID]")]
    pub owner: Option<String>,

    /// What to do with a half-made data directory: half a copy, or half of a primary's first start.
    #[arg(long, help_heading = heading::LOSS, env = "MYSQLSET_ON_HALF_MADE", value_enum, default_value = "refuse")]
    pub on_half_made: OnHalfMade,

    /// What ordinal 0 does with an empty volume while other pods of the set hold data, or may hold some.
    #[arg(long, help_heading = heading::LOSS, env = "MYSQLSET_ON_LOST_PRIMARY", value_enum, default_value = "refuse")]
    pub on_lost_primary: OnLostPrimary,

    /// The set's first start is over: an empty ordinal 0 refuses to make a new database, even if all other pods are silent.
    #[arg(
        long,
        help_heading = heading::LOSS,
        env = "MYSQLSET_SET_HAS_DATA",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub set_has_data: bool,

    /// What to do with a replica whose replication is broken: the source purged what it needs, or its relay logs are lost.
    #[arg(long, help_heading = heading::LOSS, env = "MYSQLSET_ON_BROKEN_REPLICA", value_enum, default_value = "keep")]
    pub on_broken_replica: OnBrokenReplica,

    /// Directory of the server's configuration files. A clone depends on the page size, places and keys in them.
    #[arg(
        long,
        help_heading = heading::DATA,
        env = "MYSQLSET_SERVER_CONFIG",
        default_value = "/etc/mysql/conf.d",
        value_name = "DIR",
    )]
    pub server_config: PathBuf,

    /// Start the local server on each copy and open every table, before the copy is published.
    #[arg(long, help_heading = heading::CLONES, env = "MYSQLSET_REHEARSAL", value_enum, default_value = "auto")]
    pub rehearsal: Rehearse,

    /// The local backup tool reaches the keys of encrypted data. A clone of encrypted data requires this flag.
    #[arg(
        long,
        help_heading = heading::CLONES,
        env = "MYSQLSET_KEYRING",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub keyring: bool,

    /// Accept the legacy stream of a donor other than mysqlset, such as the tutorial's ncat. Its sender is unproven, and it
    /// lacks an end mark and a digest.
    #[arg(
        long,
        help_heading = heading::TUTORIAL,
        env = "MYSQLSET_TAKE_UNPROVEN_STREAM",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub take_unproven_stream: bool,

    /// Memory for prepare, in bytes or as 512MiB. By default it follows the container's memory limit and the length of
    /// the log.
    #[arg(long, help_heading = heading::CLONES, env = "MYSQLSET_PREPARE_MEMORY", value_name = "SIZE")]
    pub prepare_memory: Option<String>,

    /// Write the clone through the page cache instead of past it (O_DIRECT), for storage that needs the cache to be fast.
    #[arg(
        long,
        help_heading = heading::CLONES,
        env = "MYSQLSET_CACHED_WRITES",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new(),
    )]
    pub cached_writes: bool,
}

impl CloneArgs {
    pub fn checked(self, process: &ProcessArgs) -> Result<settings::CloneSettings> {
        let member = process.member()?;
        let donors = if self.donor.is_empty() {
            let peers = member.ordinal.donors();
            peers
                .map(|donor| HostPort { host: member.peer(donor, &self.peers.service), port: self.clone_port })
                .collect()
        } else {
            self.donor.iter().map(|text| HostPort::parse(text, self.clone_port)).collect::<Result<_>>()?
        };
        let primary = HostPort { host: member.peer(Ordinal::PRIMARY, &self.peers.service), port: self.clone_port };
        let peering = self.peers.peering()?;
        no_secret_beside(&peering, self.take_unproven_stream, "--take-unproven-stream")?;
        Ok(settings::CloneSettings {
            primary,
            member,
            data_dir: self.data.data_dir,
            donors,
            peering,
            service: self.peers.service,
            clone_port: self.clone_port,
            give_up_after: self.give_up_after,
            owner: self.owner.as_deref().map(owner).transpose()?,
            on_half_made: self.on_half_made,
            on_lost_primary: self.on_lost_primary,
            on_broken_replica: self.on_broken_replica,
            set_has_data: self.set_has_data,
            server_config: self.server_config,
            rehearsal: self.rehearsal,
            keyring: self.keyring,
            take_unproven_stream: self.take_unproven_stream,
            prepare_memory: bytes::parse("--prepare-memory", self.prepare_memory.as_deref(), LEAST_MEMORY)?,
            writing: if self.cached_writes { Writing::Cached } else { Writing::Direct },
        })
    }
}

fn owner(text: &str) -> Result<Owner> {
    let wrong = || Reason::Settings.error(format!("--owner {text:?} is not UID or UID:GID in numbers, like 999:999"));
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    Ok(Owner { uid: uid.parse().map_err(|_| wrong())?, gid: gid.parse().map_err(|_| wrong())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers() {
        assert_eq!(owner("999").unwrap(), Owner { uid: 999, gid: 999 });
        assert_eq!(owner("1:2").unwrap(), Owner { uid: 1, gid: 2 });
        assert!(owner("mysql").is_err());
    }
}
