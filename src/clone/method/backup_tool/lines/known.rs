//! Which tools' words are known.
//!
//! | tool | how |
//! |---|---|
//! | XtraBackup 2.3, 2.4 | recorded: 2.3.5, 2.4.20 |
//! | XtraBackup 8.0 to 8.4, 9.0 to 9.7 | read in their sources |
//! | mariadb-backup 10.8 to 11.8 | recorded: 10.11.19, 11.8.9; one source for all of them since MDEV-14425 |
//! | mariadb-backup 10.5 to 10.7 | read; they don't say how far a recovery came: `srv_start` (srv0start.cc) ends a restore before its line "started; log sequence number" |

use crate::clone::method::backup_tool::family::Family;
use crate::clone::method::backup_tool::version::Version;

/// What is known of how a tool says things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// It says how far it came, and the lines by which it fails are on the list.
    Known,
    /// The same, but how far it came it does not say.
    WithoutEnd,
    /// Nothing.
    Unread,
}

/// What is known of a tool's words.
pub fn words(family: Family, version: &Version) -> Words {
    let series = version.series();
    let mut numbers = series.split('.').filter_map(|number| number.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Words::Unread };
    match (family, major, minor) {
        (Family::Percona, 2, 3 | 4) | (Family::Percona, 8, 0..=4) | (Family::Percona, 9, 0..=7) => Words::Known,
        (Family::Mariadb, 10, 8..=11) | (Family::Mariadb, 11, 0..=8) => Words::Known,
        (Family::Mariadb, 10, 5..=7) => Words::WithoutEnd,
        _ => Words::Unread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_tools() {
        let percona = |version: &str| {
            let text = format!("xtrabackup version {version} based on MySQL server {version} Linux");
            words(Family::Percona, &Version::parse(&text, Family::Percona).unwrap())
        };
        let mariadb = |version: &str| {
            let text = format!("mariadb-backup based on MariaDB server {version}-MariaDB Linux");
            words(Family::Mariadb, &Version::parse(&text, Family::Mariadb).unwrap())
        };
        for known in ["2.3.5", "2.4.29", "8.0.14", "8.0.35-31", "8.4.0-1", "9.1.0-1", "9.7.2-2"] {
            assert_eq!(percona(known), Words::Known, "{known}");
        }
        for unread in ["2.2.1", "9.8.0-1", "10.7.1-1"] {
            assert_eq!(percona(unread), Words::Unread, "{unread}");
        }
        for known in ["10.11.19", "10.8.3", "11.4.2", "11.8.9"] {
            assert_eq!(mariadb(known), Words::Known, "{known}");
        }
        assert_eq!(
            (mariadb("10.6.16"), mariadb("12.1.1"), mariadb("10.4.1")),
            (Words::WithoutEnd, Words::Unread, Words::Unread)
        );
    }
}
