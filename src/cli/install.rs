//! Flags of `mysqlset install`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Directory that gets the program, a volume that the other containers mount too.
    #[arg(long, env = "MYSQLSET_TO", default_value = "/mysqlset", value_name = "DIR")]
    pub to: PathBuf,
}
