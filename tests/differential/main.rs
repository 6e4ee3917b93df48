//! Our unpacking compared with the real `mbstream`'s, byte for byte: what it packs, and what a generator makes of all that
//! the format allows ([`legal`]). And what it doesn't allow: every break is refused by us ([`breaks`], [`framed`], [`hostile`]),
//! whatever the real one makes of it ([`compared`]); nor does what is allowed take more memory than there is for it
//! ([`memory`]).
//!
//! `SEED=n` repeats a run whose failure named it.

mod breaks;
mod compared;
mod framed;
mod generator;
mod hostile;
mod legal;
mod mbstream;
mod memory;
mod sample;
mod tree;
mod whole;

use std::time::{SystemTime, UNIX_EPOCH};

/// What this run's random trees and streams follow from.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|error| panic!("SEED={text}: {error}")),
        _ => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    }
}
