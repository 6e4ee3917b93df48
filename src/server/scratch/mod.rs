//! A private server: the pod's own server program, run by us for a short time on data that only we use.
//!
//! It has three uses. MySQL's CLONE plugin fetches a copy and recovers it ([`crate::clone::method::clone_plugin`]). The
//! rehearsal opens every table of a prepared copy. And the events that came with a copy are disabled in it.
//!
//! ```text
//!  stage/run/          made at each start, removed at the end; a killed server leaves files only here
//!        ├─ sock, pid  the only way in: networking is disabled
//!        ├─ tmp/       a server deletes the `#sql*` files of its temporary directory, so it gets its own
//!        ├─ plugins/   links to the libraries that the configuration loads: the server can load only these
//!        └─ init.sql   empty
//! ```
//!
//! The data are untrusted until they are proven. A row of `mysql.plugin`, `mysql.func` or `mysql.component` makes a
//! server load a library at its start. `--skip-grant-tables` skips the first two, but MySQL still reads
//! `mysql.component` (seen with 9.7). So the library directory is ours, and holds only libraries that the configuration
//! names.

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
pub use running::{End, ScratchServer, TIME_TO_DIE};
pub use setup::{Access, Configuration, Grants, Setup};

/// The least buffer pool of a private server.
pub const LEAST_POOL: u64 = 64 << 20;

/// MySQL's memory beside the buffer pool: with a pool of 64 MB, 320 MB are resident. (9.7)
pub const BESIDE_POOL: u64 = 256 << 20;

/// The memory that a container needs for a copy by the CLONE plugin. The server with the least pool takes 329 MiB that
/// the kernel cannot reclaim (9.7.4), and we take some.
pub const FETCHING: u64 = 352 << 20;
