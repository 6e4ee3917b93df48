//! Wraps the kernel: children, durable files, held directories, limits, signals and sockets. This folder is
//! independent of servers, clones and replication.

pub mod child;
pub mod connection_limit;
pub mod container_memory;
pub mod core_files;
pub mod deadline;
pub mod disk;
pub mod durable;
pub mod environment;
pub mod heap;
pub mod held_directory;
pub mod limits;
pub mod listening;
pub mod name_service;
pub mod own_address;
pub mod pid1;
pub mod random;
pub mod secret;
pub mod stop;
pub mod temporary_directory;
pub mod terminal;
pub mod termination_log;
pub mod umask;
