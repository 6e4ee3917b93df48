//! Choices that a flag gives by a word.

use clap::ValueEnum;

/// How a clone is made.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By a backup tool where there is one that fits the server, else by MySQL's CLONE plugin.
    #[default]
    Auto,
    /// By XtraBackup or mariadb-backup.
    BackupTool,
    /// By MySQL's CLONE plugin, since MySQL 8.0.17.
    ClonePlugin,
}

/// Whether clones are packed on the wire.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireCompression {
    /// Never.
    #[default]
    Off,
    /// Where it is measured to be quicker.
    Auto,
    /// Always.
    On,
}

/// Whether a copy is rehearsed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearse {
    /// Where PATH has a server program.
    Auto,
    /// Never.
    Off,
}

/// What `clone` does about data that cannot be trusted.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHalfMade {
    /// Stop, touch nothing.
    Refuse,
    /// Rename it to a dot-directory beside the data directory and start with an empty one.
    SetAside,
}

/// What `clone` does on ordinal 0 about a volume that is empty and should not be.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostPrimary {
    /// Stop, and say what was found.
    Refuse,
    /// Clone from the replica that has come furthest, or from --donor.
    Recover,
    /// Make a new database all the same; replicas of the old one will follow nobody.
    StartAnew,
}

/// What `clone` does about a replica that can't go on.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBrokenReplica {
    /// Leave the data alone; the pod starts, and is not ready.
    Keep,
    /// Clone beside them where GTIDs tell that the primary has all of them, and put the whole clone in their place; at most
    /// once a day.
    CloneAgain,
}
