//! Flags that both ends of a clone must agree on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::seconds;
use crate::model::exit::Reason;
use crate::protocol::clone_secret::CloneSecret;
use crate::settings::{Method, Peering, WireCompression};

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

impl PeerArgs {
    /// How this pod and its peers find, trust and wait for each other.
    pub fn peering(&self) -> Result<Peering> {
        let secret = CloneSecret::read(self.clone_secret_file.as_deref(), "MYSQLSET_CLONE_SECRET")?;
        let stall_timeout = Duration::from_secs(self.stall_timeout);
        Ok(Peering { secret, stall_timeout, wire_compression: self.wire_compression, method: self.method })
    }
}

/// Who has a secret has others prove themselves; with one of these flags somebody need not.
pub fn no_secret_beside(peering: &Peering, is_set: bool, flag: &str) -> Result<()> {
    match &peering.secret {
        Some(_) if is_set => Err(Reason::Settings.error(format!(
            "{flag} is for peers that can prove nothing, and a clone secret is set, which every peer has to know: keep \
             one of the two"
        ))),
        _ => Ok(()),
    }
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
}
