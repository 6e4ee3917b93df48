//! SQL connections to a server of the family: connecting, queries and statements. The dialects are in [`dialect`].

mod access_denied;
pub mod account;
pub mod accounts;
pub mod aria;
mod client;
pub mod config_files;
mod connection;
pub mod dialect;
pub mod events;
#[cfg(test)]
mod fake;
pub mod filtered_data;
pub mod history;
#[cfg(test)]
mod hostile_tests;
pub mod inventory;
mod literals;
pub mod opening;
pub mod plugin;
mod reaching;
pub mod refusal;
mod rows;
pub mod scratch;
mod semi_sync;
mod statement;
pub mod status;
pub mod storage;
pub mod trouble;

pub use access_denied::TurnedAway;
pub use client::ServerError;
pub use connection::Server;
pub use literals::{identifier, literal, secret_literal};
pub use rows::NamedRow;
pub use status::replication_status;
