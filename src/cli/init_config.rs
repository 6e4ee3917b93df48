//! Flags of `mysqlset init-config`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::process::ProcessArgs;
use crate::model::ordinal::ServerId;
use crate::settings;

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

impl InitConfigArgs {
    pub fn checked(self, process: &ProcessArgs) -> Result<settings::InitConfig> {
        let member = process.member()?;
        Ok(settings::InitConfig {
            server_id: ServerId::new(self.server_id_offset, member.ordinal)?,
            member,
            config_map: self.config_map,
            conf_dir: self.conf_dir,
            install: self.install,
        })
    }
}
