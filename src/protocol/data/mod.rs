//! The backup stream inside its frames: a writer that is finished on purpose only, and a reader that believes
//! nothing before it has seen the end frame.

mod reader;
mod writer;

pub use reader::{DataReader, READ_AHEAD};
pub use writer::DataWriter;

#[cfg(test)]
mod tests;
