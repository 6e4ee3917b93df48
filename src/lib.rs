//! `mysqlset` runs MySQL and MariaDB replicas in a Kubernetes StatefulSet. It gives each pod its configuration. It
//! fills a new pod's volume with a clone of another pod's data, and starts replication from where the clone ends. Then
//! it serves clones to the next pod. It makes no call to the Kubernetes API.
//!
//! | folder | what it decides |
//! |---|---|
//! | [`cli`] | flags and variables, help, the dispatch to a command |
//! | [`commands`] | one story for each subcommand; how each ends |
//! | [`primary_loss`] | whether ordinal 0 may begin a new database |
//! | [`replication`] | from a published clone to replication that runs, and keeping it so |
//! | [`accounts`] | the accounts that the set makes for itself |
//! | [`clone`] | donor, recipient, clone methods, and the proof of a copy |
//! | [`settings`] | what the operator decided, checked: one plain struct for each command |
//! | [`observe`] | status, readiness, metrics, progress |
//! | [`datadir`] | the states of a data directory, drawn; the journal; publishing |
//! | [`server`] | SQL to the pod's server in each dialect; its option files; a private scratch server |
//! | [`protocol`] | the messages between donor and recipient, drawn, byte by byte |
//! | [`unpack`] | backup streams (xbstream, tar) into files |
//! | [`sys`] | children, durable files, directories held open, limits, signals, sockets |
//! | [`model`] | ordinals, set identity, positions, events, exit codes: plain data |
//!
//! Imports point down this table only. `tests/structure` holds the arrows.

pub mod accounts;
pub mod cli;
pub mod clone;
pub mod commands;
pub mod datadir;
pub mod model;
pub mod observe;
pub mod primary_loss;
pub mod protocol;
pub mod replication;
pub mod server;
pub mod settings;
pub mod sys;
pub mod unpack;
