//! The demands on each parser of network bytes, for any input. The least of them: a parser must never panic.
//!
//! `make fuzz TARGET=name` feeds a parser with random bytes. `cargo test --test corpus` feeds it with the inputs in
//! `fuzz/corpus/`, on stable Rust. Each function here is a target there ([`TARGETS`]).

mod framed;
mod memory;
mod stage;
mod tar;
mod wire;
mod xbstream;

pub use framed::framed_xbstream;
pub use tar::tar;
pub use wire::{frames, messages, packed_frames, preface};
pub use xbstream::{xbstream_mariadb, xbstream_percona};

/// A target's name, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("preface", preface),
    ("messages", messages),
    ("frames", frames),
    ("packed_frames", packed_frames),
    ("xbstream_percona", xbstream_percona),
    ("xbstream_mariadb", xbstream_mariadb),
    ("framed_xbstream", framed_xbstream),
    ("tar", tar),
];
