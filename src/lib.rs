//! `mysqlset` runs MySQL and MariaDB replicas in a Kubernetes StatefulSet: it gives each pod its configuration, fills
//! a new pod's volume with a clone of another pod's data, starts replication from where the clone ends, and serves
//! clones to the next pod. It knows nothing of the Kubernetes API.
//!
//! Where to look first:
//!
//! | | |
//! |---|---|
//! | [`commands`] | one story for each subcommand |
//! | [`held`] | a volume's directories, held open: nothing below is reached through a link |
//! | [`datadir`] | the states of a data directory, drawn; the journal; publishing |
//! | [`wire`] | the protocol between donor and recipient, drawn |
//! | [`unpack`] | backup streams into files |
//! | [`donor`], [`recipient`] | the two ends of a clone; they meet in [`wire`] only |
//! | [`peer`] | asking another pod: for a clone, or for what it is |
//! | [`guard`] | what keeps a primary that lost its data from starting anew |
//! | [`accounts`] | the accounts that the set makes for itself |
//! | [`replication`] | from a published clone to replication that runs, and keeping it so |
//! | [`clone_plugin`] | a copy without a backup tool, by a private server |
//! | [`rehearsal`] | whether the pod's server can start on a copy and open its tables |
//! | [`own_server`] | a private server on data that nobody else uses |
//! | [`backup_tool`], [`mysql`], [`own_server`] | the only modules that know one tool or server from another |
//!
//! Imports point one way: `commands` → `donor`, `recipient`, `replication`, `guard`, `http` → `accounts`, `peer`, `clone_plugin`, `rehearsal` → `own_server` → `wire`, `unpack`,
//! `backup_tool`, `datadir`, `mysql`, `status`, `metrics`, `progress` → `ordinal`, `position`, `settings`, `clone_secret`, `server_config`, `own_address`, `listening`, `own_pod`, `places`, `name_service`, `limits`, `environment`, `stop`, `umask`, `core_files`, `heap` → `event`, `exit`, `held`, `durable`, `secret`, `terminal`.

pub mod accounts;
pub mod backup_tool;
pub mod child;
pub mod cli;
pub mod clone_plugin;
pub mod clone_secret;
pub mod commands;
pub mod core_files;
pub mod datadir;
pub mod deadline;
pub mod donor;
pub mod durable;
pub mod environment;
pub mod event;
pub mod exit;
pub mod guard;
mod heap;
pub mod held;
pub mod http;
pub mod inventory;
pub mod limits;
pub mod listening;
pub mod logging;
pub mod metrics;
pub mod mysql;
pub mod name_service;
pub mod ordinal;
pub mod own_address;
mod own_pod;
pub mod own_server;
pub mod peer;
pub mod pid1;
mod places;
pub mod position;
pub mod progress;
pub mod random;
pub mod recipient;
pub mod rehearsal;
pub mod replication;
pub mod scratch;
pub mod secret;
pub mod server_config;
pub mod settings;
pub mod status;
pub mod stop;
pub mod terminal;
pub mod umask;
pub mod unpack;
pub mod wire;
