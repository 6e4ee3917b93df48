//! The data directory: its states, the remains of interrupted runs, and the way of a clone into it.
//!
//! ```text
//!              nothing there              end mark checked      tool says so    proven        moved, synced
//!   empty ───────────────────▶ receiving ──▶ received ─▶ preparing ─▶ prepared ─▶ publishing ─▶ published
//!     │ ordinal 0                  ▲  discard what was staged │ failed    │ not whole   │            │ position set
//!     ▼                            └──────────────────────────┴───────────┘             │            ▼
//!   initialising ─▶ complete                                               replay moves ┘       configured ─▶ replicating
//!        (the sidecar, when the server first answers)                          (the sidecar, see replication)
//! ```
//!
//! A replica with broken replication is replaced: its clone goes through the same states in the stage, and one rename
//! exchanges it with the old data. A completed first start leaves a mark (see [`first_start`]).
//!
//! Each arrow is a write of the [`journal`], synced before the step that it announces. There are two layouts:
//!
//! * **beside**: the data directory is an ordinary directory of a writable volume (the shipped manifests). The received
//!   copy lies in `.mysqlset-NAME-stage/` beside it, with its journal. Publishing is one rename of the staged
//!   directory, journal included, over the empty data directory.
//! * **inside**: the data directory is a mount point (the tutorial's mounts). The received copy lies in
//!   `.mysqlset-stage/` inside it. Publishing renames entry by entry, `mysql/` last.
//!
//! The volume's directory and the stage are held open ([`crate::sys::held_directory`]). So a start keeps working where it began,
//! even if their names move.
//!
//! While a server runs, the journal is our only file in its data directory.

pub mod backup_metadata;
pub mod configured_places;
pub mod contents;
pub mod donor_leftovers;
pub mod first_start;
mod held_stage;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod ownership;
pub mod publish;
pub mod received_log;
pub mod stage;
pub mod whole_or_half;
