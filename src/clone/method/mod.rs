//! The ways in which a copy is made: each is a folder.

pub mod backup_tool;
pub mod clone_plugin;
