//! How a command ended that did not fail.

/// How a command ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it is for.
    Done,
    /// It was told to stop before.
    Terminated,
    /// The answer is no, and why.
    No(String),
}
