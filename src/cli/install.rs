//! Flags of `mysqlset install`.

use std::path::PathBuf;

use clap::Args;

use super::heading;

#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Directory for the program: a volume that the other containers mount too.
    #[arg(long, help_heading = heading::DATA, env = "MYSQLSET_TO", default_value = "/mysqlset", value_name = "DIR")]
    pub to: PathBuf,
}
