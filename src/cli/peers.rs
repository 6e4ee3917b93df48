//! Flags that both ends of a clone must agree on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{heading, time};
use crate::model::exit::Reason;
use crate::protocol::clone_secret::CloneSecret;
use crate::settings::{Method, Peering, WireCompression};

/// What both ends of a clone must agree on.
#[derive(Args, Debug)]
pub struct PeerArgs {
    /// Name of the headless Service. Pods find each other through it, as mysql-0.SERVICE.
    #[arg(long, help_heading = heading::SET, env = "MYSQLSET_SERVICE", default_value = "mysql", value_name = "NAME")]
    pub service: String,

    /// File with the clone secret, which donors and recipients prove to each other (or MYSQLSET_CLONE_SECRET).
    #[arg(long, help_heading = heading::TRUST, env = "MYSQLSET_CLONE_SECRET_FILE", value_name = "FILE")]
    pub clone_secret_file: Option<PathBuf>,

    /// Clone method.
    #[arg(long, help_heading = heading::CLONES, env = "MYSQLSET_METHOD", value_enum, default_value = "auto")]
    pub method: Method,

    /// Silence after which a peer counts as gone.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_STALL_TIMEOUT",
        value_parser = time::some,
        default_value = "30s",
        value_name = "TIME",
    )]
    pub stall_timeout: Duration,

    /// Compress clones with zstd on the wire, where both ends say "auto" or "on". The donor's choice decides.
    #[arg(long, help_heading = heading::CLONES, env = "MYSQLSET_WIRE_COMPRESSION", value_enum, default_value = "off")]
    pub wire_compression: WireCompression,
}

impl PeerArgs {
    /// How this pod and its peers find, trust and wait for each other.
    pub fn peering(&self) -> Result<Peering> {
        let secret = CloneSecret::read(self.clone_secret_file.as_deref(), "MYSQLSET_CLONE_SECRET")?;
        let stall_timeout = self.stall_timeout;
        Ok(Peering { secret, stall_timeout, wire_compression: self.wire_compression, method: self.method })
    }
}

/// With a clone secret every peer must prove itself. These flags exempt peers from that.
pub fn no_secret_beside(peering: &Peering, is_set: bool, flag: &str) -> Result<()> {
    match &peering.secret {
        Some(_) if is_set => Err(Reason::Settings.error(format!(
            "{flag} exempts peers from the clone secret, but a clone secret is set: remove the flag or the secret"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_secret_excludes_flags_for_unproven_peers() {
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
