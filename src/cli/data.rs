//! Where the data lie.

use std::path::PathBuf;

use clap::Args;

use super::heading;

/// Where the data lie.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// Data directory of the server.
    #[arg(
        long,
        help_heading = heading::DATA,
        env = "MYSQLSET_DATA_DIR",
        default_value = "/var/lib/mysql",
        value_name = "DIR",
    )]
    pub data_dir: PathBuf,
}
