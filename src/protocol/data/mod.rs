//! Carries the backup stream in frames. The writer has to end it explicitly, and the reader reports success only
//! after a checked end frame.

mod reader;
mod writer;

pub use reader::DataReader;
pub use writer::DataWriter;

#[cfg(test)]
mod tests;
