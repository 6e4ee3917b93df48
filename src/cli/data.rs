//! Where the data lie.

use std::path::PathBuf;

use clap::Args;

/// Where the data lie.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// The server's data directory.
    #[arg(long, env = "MYSQLSET_DATA_DIR", default_value = "/var/lib/mysql", value_name = "DIR")]
    pub data_dir: PathBuf,
}
