//! The data directory: what is in it, what an interrupted run left, and how a clone gets into it.
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
//! A replica that can't go on is replaced: its clone takes the same way in the stage, and is exchanged with the old data in
//! one rename. A first start leaves a mark when it is done (see [`first_start`]).
//!
//! The arrows are writes of the [`journal`], each synced before the step that it announces. Two layouts:
//!
//! * **beside**: the data directory is an ordinary directory of a writable volume (the shipped manifests). What is
//!   received lies in `.mysqlset-NAME-stage/` beside it, with its journal; publishing is one rename of the staged
//!   directory, journal included, over the empty data directory.
//! * **inside**: the data directory is a mount point (the tutorial's mounts). What is received lies in
//!   `.mysqlset-stage/` inside it and publishing renames entry by entry, `mysql/` last.
//!
//! The volume's directory and the stage are held open ([`crate::sys::held`]): a start works where it began to, whatever gets their names.
//!
//! While a server runs, nothing of ours is in its data directory but the journal.

pub mod backup_metadata;
pub mod contents;
pub mod earlier_life;
pub mod first_start;
mod held_stage;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod named_places;
pub mod ownership;
pub mod publish;
pub mod received_log;
pub mod stage;
pub mod state;
