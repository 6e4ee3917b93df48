//! How a command ended that did not fail.

/// The outcome of a command that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command did its work.
    Done,
    /// The command was told to stop before its end.
    Terminated,
    /// The answer is no, and why.
    No(String),
}
