//! What is asked of each parser that reads from the network, whatever it is fed. Not to panic is the least of it.
//!
//! `make fuzz TARGET=name` feeds it at random, `cargo test --test corpus` with what is kept in `corpus/`, on stable Rust.
//! A function here is a target there, and vice versa ([`TARGETS`]).

mod compressed;
mod framed;
mod memory;
mod stage;
mod tar;
mod wire;
mod xbstream;

pub use compressed::compressed_members;
pub use framed::framed_xbstream;
pub use tar::tar;
pub use wire::{frames, messages, packed_frames, preface};
pub use xbstream::{xbstream_mariadb, xbstream_percona};

/// A name, and what is fed.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("preface", preface),
    ("messages", messages),
    ("frames", frames),
    ("packed_frames", packed_frames),
    ("xbstream_percona", xbstream_percona),
    ("xbstream_mariadb", xbstream_mariadb),
    ("framed_xbstream", framed_xbstream),
    ("tar", tar),
    ("compressed_members", compressed_members),
];
