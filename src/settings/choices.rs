//! Choices that a flag gives by a word.

use clap::ValueEnum;

/// Clone method.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By a backup tool where one fits the server, else by MySQL's CLONE plugin.
    #[default]
    Auto,
    /// By XtraBackup or mariadb-backup.
    BackupTool,
    /// By MySQL's CLONE plugin, since MySQL 8.0.17.
    ClonePlugin,
}

/// Whether clones are compressed on the wire.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireCompression {
    /// Never.
    #[default]
    Off,
    /// Where it is measured to be faster.
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

/// What `clone` does about half-made data.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHalfMade {
    /// Stop and touch nothing.
    Refuse,
    /// Rename it to a dot-directory beside the data directory, and start with an empty one.
    SetAside,
}

/// What `clone` does about an empty volume of ordinal 0 while the set has data elsewhere.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostPrimary {
    /// Stop and say what was found.
    Refuse,
    /// Clone from the replica that has come furthest, or from --donor.
    Recover,
    /// Make a new database all the same. Replicas of the old one will follow nobody.
    StartAnew,
}

/// What `clone` does about a replica whose replication cannot go on.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBrokenReplica {
    /// Keep the data. The pod starts and is not ready.
    Keep,
    /// Where GTIDs tell that the primary has all of the data, clone beside them and put the whole clone in their place. At
    /// most once a day.
    CloneAgain,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T: ValueEnum>() -> Vec<String> {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }

    /// Manifests have them.
    #[test]
    fn a_renamed_variant_changes_no_word() {
        assert_eq!(words::<Method>(), ["auto", "backup-tool", "clone-plugin"]);
        assert_eq!(words::<WireCompression>(), ["off", "auto", "on"]);
        assert_eq!(words::<Rehearse>(), ["auto", "off"]);
        assert_eq!(words::<OnHalfMade>(), ["refuse", "set-aside"]);
        assert_eq!(words::<OnLostPrimary>(), ["refuse", "recover", "start-anew"]);
        assert_eq!(words::<OnBrokenReplica>(), ["keep", "clone-again"]);
    }
}
