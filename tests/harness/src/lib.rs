//! The base of the tests: clusters of pods on this machine, sets with data in them, faulty networks, and stand-ins.
//!
//! A scenario starts a set ([`set`]), changes something, and states its demands. The tests below `tests/` and the
//! programs in `src/bin/` use this crate as a library. The program under test is unaware of it.
//!
//! * [`pods`], [`set`], [`writer`]: a StatefulSet of the shipped manifests, the data in it, and writes to it.
//! * [`logged`]: the output of mysqlset, by the names of events.
//! * [`proxy`], [`sql_proxy`], [`throng`]: bad networks, delayed statements, strangers.
//! * [`stand_ins`], [`sidecar`]: stand-ins for a donor, a recipient, a server and a tool; a sidecar alone.
//! * [`lab`], [`rehearsal`]: one volume, for kills at each system call, and for rehearsals of a copy.
//! * [`torture`]: rounds of random kills. [`parsers`]: the demands on every parser, for tests and fuzzer.
//! * [`mod@needs`]: tests that are left out on a server without their needs.
//! * [`dice`], [`xbstream`], [`flags`]: repeatable chance, the tests' own reading of streams, the program's flags.

pub mod dice;
pub mod flags;
pub mod lab;
pub mod logged;
pub mod needs;
mod options;
pub mod parsers;
mod places;
pub mod pods;
pub mod processes;
pub mod proxy;
pub mod rehearsal;
pub mod set;
pub mod sidecar;
pub mod single_test;
pub mod sql_proxy;
pub mod stand_ins;
pub mod throng;
pub mod torture;
pub mod writer;
pub mod xbstream;

pub use options::variable;
pub use places::{kept, program, project};
