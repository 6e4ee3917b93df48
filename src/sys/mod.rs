//! The kernel's side: children, durable files, directories held open, limits, signals, sockets. Nothing here knows about
//! servers, clones or replication.

pub mod child;
pub mod connection_limit;
pub mod core_files;
pub mod deadline;
pub mod disk;
pub mod durable;
pub mod environment;
pub mod heap;
pub mod held;
pub mod limits;
pub mod listening;
pub mod memory;
pub mod name_service;
pub mod own_address;
pub mod pid1;
pub mod random;
pub mod scratch;
pub mod secret;
pub mod stop;
pub mod terminal;
pub mod termination_log;
pub mod umask;
