//! What the options files that the tool itself reads make of its stream: compressed or encrypted members.
//!
//! The tool is asked, for only it knows which files it reads: `--print-defaults` prints the options of its server's
//! groups, and of one group more with `--defaults-group` (seen with mariadb-backup 10.11; XtraBackup 2.4 lists both
//! options in its help). Each of the other groups has to be asked for, which is done for all of them at once: a recipient
//! waits.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Family;
use super::version::Version;
use crate::child;
use crate::unpack::compressed::Compression;

/// An option of the tool's files that changes its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnOption {
    /// As it was said: `compress=lz4`.
    pub option: String,
    /// What it makes of the members, where that can be decompressed by anybody.
    pub compression: Option<Compression>,
}

/// The groups that the tool takes `compress` from and that `--print-defaults` leaves out, the weakest first. For
/// mariadb-backup they were tried one by one; XtraBackup's are in its source.
fn groups(family: Family) -> &'static [&'static str] {
    match family {
        Family::Percona => &["client"],
        Family::Mariadb => &["client", "client-mariadb", "xtrabackup", "mariabackup", "mariadb-backup"],
    }
}

/// Asks the tool.
pub fn own_option(program: &Path, family: Family, version: &Version) -> Result<Option<OwnOption>> {
    let mut printed = String::new();
    let mut questions: Vec<Command> = groups(family).iter().map(|group| question(program, group)).collect();
    for output in child::outputs(&mut questions).with_context(|| format!("starting {}", program.display()))? {
        // Not a word of the output: there may be a password in it.
        ensure!(output.status.success(), "{} can't read its options files", program.display());
        printed.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    Ok(find(&printed, bare_compress(family, version)))
}

fn question(program: &Path, group: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("--print-defaults").arg(format!("--defaults-group={group}"));
    command
}

/// What `compress` without a value stands for. mariadb-backup knows QuickLZ only, and XtraBackup had it until
/// 8.0.34-29, whose notes say that zstd takes its place.
fn bare_compress(family: Family, version: &Version) -> Compression {
    match family {
        Family::Percona if version.is_from([8, 0, 34]) => Compression::Zstd,
        _ => Compression::Quicklz,
    }
}

/// The last `compress` counts, as the tools take it; any `encrypt` goes before it.
fn find(printed: &str, bare: Compression) -> Option<OwnOption> {
    let mut found = None;
    for argument in printed.split_ascii_whitespace().filter_map(|word| word.strip_prefix("--")) {
        let (name, value) = argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
        let name = name.replace('_', "-");
        let option = argument.to_owned();
        match (name.strip_prefix("loose-").unwrap_or(&name), value) {
            ("encrypt", _) => return Some(OwnOption { option, compression: None }),
            ("compress", None) => found = Some(OwnOption { option, compression: Some(bare) }),
            ("compress", Some(value)) => {
                let known = [Compression::Zstd, Compression::Lz4, Compression::Quicklz];
                let compression = known.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(value));
                found = Some(OwnOption { option, compression });
            }
            // mariadb-backup takes this for the value `0`, and stops.
            ("skip-compress" | "disable-compress", _) => found = Some(OwnOption { option, compression: None }),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mariadb(version: &str) -> Version {
        Version::parse(&format!("mariadb-backup based on MariaDB server {version}"), Family::Mariadb).unwrap()
    }

    fn found(printed: &str) -> Option<(String, Option<Compression>)> {
        let printed = format!("xtrabackup would have been started with the following arguments:\n{printed} \n");
        find(&printed, Compression::Zstd).map(|own| (own.option, own.compression))
    }

    #[test]
    fn options_as_they_are_printed() {
        let lz4 = |option: &str| Some((option.to_owned(), Some(Compression::Lz4)));
        assert_eq!(found(""), None);
        assert_eq!(found("--datadir=/x --compress-threads=4 --compress_chunk_size=65536 --encrypted-backup"), None);
        assert_eq!(found("--user=u --compress --host=h"), Some(("compress".into(), Some(Compression::Zstd))));
        assert_eq!(found("--compress=lz4"), lz4("compress=lz4"));
        assert_eq!(found("--compress=zstd --loose_compress=LZ4"), lz4("loose_compress=LZ4"));
        assert_eq!(found("--compress=quicklz"), Some(("compress=quicklz".into(), Some(Compression::Quicklz))));
        for useless in ["compress=", "compress=0", "compress=snappy", "skip-compress", "encrypt=AES256"] {
            assert_eq!(found(&format!("--{useless}")), Some((useless.into(), None)), "{useless}");
        }
        assert_eq!(found("--encrypt=AES256 --compress=lz4"), Some(("encrypt=AES256".into(), None)));
    }

    #[test]
    fn compress_without_a_value_is_what_the_version_makes_of_it() {
        for (version, expected) in [
            ("xtrabackup version 2.4.29 based on MySQL server 5.7.44", Compression::Quicklz),
            ("xtrabackup version 8.0.14 based on MySQL server 8.0.21", Compression::Quicklz),
            ("xtrabackup version 8.0.33-28 based on MySQL server 8.0.33", Compression::Quicklz),
            ("xtrabackup version 8.0.34-29 based on MySQL server 8.0.34", Compression::Zstd),
            ("xtrabackup version 8.0.35-31 based on MySQL server 8.0.35", Compression::Zstd),
            ("xtrabackup version 8.4.0-1 based on MySQL server 8.4.0", Compression::Zstd),
            ("xtrabackup version 9.1.0-1 based on MySQL server 9.1.0", Compression::Zstd),
        ] {
            let known = Version::parse(version, Family::Percona).unwrap();
            assert_eq!(bare_compress(Family::Percona, &known), expected, "{version}");
        }
        for version in ["10.11.19-MariaDB", "11.8.9-MariaDB"] {
            let known = mariadb(version);
            assert_eq!(bare_compress(Family::Mariadb, &known), Compression::Quicklz, "{version}");
        }
    }

    /// The real tool, which reads one file of ours in the place of its own.
    fn asked(options: &str) -> Option<OwnOption> {
        let directory = tempfile::tempdir().unwrap();
        let (file, program) = (directory.path().join("my.cnf"), directory.path().join("mariadb-backup"));
        std::fs::write(&file, options).unwrap();
        let script = format!("#!/bin/sh\nexec mariadb-backup --defaults-file={} \"$@\"\n", file.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        own_option(&program, Family::Mariadb, &mariadb("10.11.19-MariaDB")).unwrap()
    }

    #[test]
    fn the_real_mariadb_backup_is_asked_for_all_its_groups() {
        assert_eq!(asked("[client]\npassword=secret\n[mariabackup]\ncompress-threads=2\n"), None);
        let quicklz = |option: &str| Some(OwnOption { option: option.into(), compression: Some(Compression::Quicklz) });
        for group in
            ["mysqld", "client", "client-server", "client-mariadb", "xtrabackup", "mariabackup", "mariadb-backup"]
        {
            assert_eq!(asked(&format!("[{group}]\ncompress\n")), quicklz("compress"), "{group}");
        }
        assert_eq!(asked("[mariabackup]\ncompress=quicklz\n[client]\ncompress\n"), quicklz("compress=quicklz"));
        let encrypt = OwnOption { option: "encrypt=AES256".into(), compression: None };
        assert_eq!(asked("[xtrabackup]\nencrypt=AES256\n[mariabackup]\ncompress\n"), Some(encrypt));
    }
}
