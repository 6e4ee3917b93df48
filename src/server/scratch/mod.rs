//! A private server: the pod's own server program, run by us for a short time on data that nobody else uses.
//!
//! Three users: MySQL's CLONE plugin fetches a copy and recovers it ([`crate::clone::method::clone_plugin`]), the rehearsal opens every
//! table of a prepared copy, and events that came with a copy are disabled in it.
//!
//! ```text
//!  stage/run/          made at each start, removed at the end; a killed server leaves nothing elsewhere
//!        ├─ sock, pid  the only way in: networking is disabled
//!        ├─ tmp/       a server deletes the `#sql*` files of its temporary directory, so it gets its own
//!        ├─ plugins/   links to the libraries that the configuration loads: nothing else can be loaded
//!        └─ init.sql   empty
//! ```
//!
//! The data are a stranger's until they are proven. A row of `mysql.plugin`, `mysql.func` or `mysql.component` makes a
//! server load a library at its start. `--skip-grant-tables` skips the first two, and MySQL reads `mysql.component` all the
//! same (seen with 9.7). So the directory that libraries are loaded from is ours, and holds what the configuration names.

mod configuration;
mod options;
mod patience;
mod plugin_directory;
mod program;
mod running;
mod setup;
mod traits;
mod words;

pub use configuration::PodConfiguration;
pub use program::Program;
pub use running::{End, OwnServer, TIME_TO_DIE};
pub use setup::{Access, Configuration, Grants, Setup};

/// The least buffer pool that a private server is given.
pub const LEAST_POOL: u64 = 64 << 20;

/// What MySQL takes beside the buffer pool: with one of 64 MB, 320 MB are resident. (9.7)
pub const BESIDE_POOL: u64 = 256 << 20;

/// What a container must have for a copy by the CLONE plugin: the server with the least pool takes 329 MiB that the kernel
/// can't take back (9.7.4), and we take some.
pub const FETCHING: u64 = 352 << 20;
