//! The shipped manifests with real servers and real backup tools, in pods on this machine.
//!
//! Needs root, and Debian's mariadb-server, mariadb-backup, bubblewrap and iproute2; `make test` installs them.

#[path = "../donor/mod.rs"]
mod donor;
#[path = "../pods/mod.rs"]
mod pods;
#[path = "../torture/rounds.rs"]
mod rounds;
#[path = "../throng/mod.rs"]
mod throng;
#[path = "../xbstream/mod.rs"]
#[allow(dead_code, reason = "the differential tests use the rest")]
mod xbstream;

mod addresses;
mod adopted;
mod applier_fault;
mod breakdowns;
mod broken;
mod crowd;
mod ddl;
mod donors;
mod e2e;
mod encrypted;
mod events;
mod faults;
mod first_start;
mod harness;
mod interruptions;
mod inventory;
mod limits;
mod locks;
mod memory;
mod moving;
mod names;
mod obeyed;
mod options;
mod passwords;
mod plugin;
mod policies;
mod preflight;
mod prepare;
mod primary_loss;
mod probes;
mod proxy;
mod refusals;
mod rehearsal;
mod renumbered;
mod rolled_back;
mod scale;
mod second_set;
mod secrecy;
mod server_ids;
mod set;
mod shapes;
mod signals;
mod silence;
mod slow_links;
mod sql_proxy;
mod statements;
mod strangers;
mod strict;
mod torture;
mod tutorial_peers;
mod wrong_set;
