//! Renames binary logs that carry their pod's name. Servers use that name where `log_bin` has no value:
//! `mysql-0-bin.000001`, `mysql-0-bin.index`, and on MariaDB `mysql-0-bin.state`.

use anyhow::Result;

use crate::datadir::contents::Contents;
use crate::model::ordinal::{Member, Ordinal};
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{Spot, Taker};

const END: &str = "-bin";
const INDEX: &str = ".index";

/// The mode that servers give an index.
const INDEX_MODE: u32 = 0o660;

/// An index of a million logs is shorter, in bytes.
const LARGEST_INDEX: u64 = 64 << 20;

/// Renames the logs of the pod with ordinal `former`, of any set, after this pod. `server_base` is the name that this
/// pod's server will look for. It differs with `log_bin = NAME` or in the node's network, and then the logs keep their
/// names. Existing files are never overwritten. An interrupted rename continues at the next start: the old index is
/// removed last.
pub fn rename(
    data_dir: &Spot,
    former: Ordinal,
    own: &Member,
    server_base: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let names: Vec<String> = Contents::of(data_dir)?.foreign_names().map(str::to_owned).collect();
    let ours = format!("{own}{END}");
    let of_former = format!("-{former}{END}");
    let bases = names.iter().filter_map(|name| name.strip_suffix(INDEX));
    let bases: Vec<&str> = bases.filter(|base| base.ends_with(&of_former) && *base != ours).collect();
    match bases[..] {
        [base] if server_base()? == ours => rename_logs(data_dir, &names, base, &ours),
        // The latest of several is unknown.
        _ => Ok(()),
    }
}

fn rename_logs(data_dir: &Spot, names: &[String], base: &str, ours: &str) -> Result<()> {
    let failed = |error| disk_error(error, format!("renaming binary logs in {data_dir}"));
    let parts = |base: &str| -> Vec<String> {
        let ends = names.iter().filter_map(|name| name.strip_prefix(base)?.strip_prefix('.'));
        ends.filter(|end| *end == "state" || is_number(end)).map(str::to_owned).collect()
    };
    let (theirs, there) = (parts(base), parts(ours));
    if theirs.iter().any(|part| there.contains(part)) {
        return Ok(());
    }
    for part in theirs {
        let (theirs, ours) = (data_dir.join(format!("{base}.{part}")), data_dir.join(format!("{ours}.{part}")));
        theirs.rename_over_nothing(&ours).map_err(failed)?;
    }
    let old = data_dir.join(format!("{base}{INDEX}"));
    let too_long = || std::io::Error::other(format!("{old} has more than {LARGEST_INDEX} bytes"));
    let text = old.read_bounded(LARGEST_INDEX).and_then(|text| text.ok_or_else(too_long)).map_err(failed)?;
    let text = String::from_utf8(text).map_err(std::io::Error::other).map_err(failed)?;
    let renamed: String = text.lines().map(|line| renamed(line, base, ours) + "\n").collect();
    let owner = old.look().map_err(failed)?;
    let taker = Taker { uid: Some(owner.st_uid), gid: owner.st_gid };
    let new = data_dir.join(format!("{ours}{INDEX}"));
    new.replace(renamed.as_bytes(), INDEX_MODE, Some(taker)).map_err(failed)?;
    old.remove_if_there().map_err(failed)?;
    data_dir.sync().map_err(failed)
}

/// A line of an index: a path to a log.
fn renamed(line: &str, base: &str, ours: &str) -> String {
    let (directory, name) = line.rsplit_once('/').map_or(("", line), |(directory, name)| (directory, name));
    let name = name.strip_prefix(base).map_or(name.to_owned(), |rest| format!("{ours}{rest}"));
    if line.contains('/') { format!("{directory}/{name}") } else { name }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_the_former_pod_get_the_new_name_after_any_interruption() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        // The first log was renamed before.
        write("db-1-bin.000001", "1");
        write("mysql-0-bin.000002", "2");
        write("mysql-0-bin.state", "0-100-9");
        write("mysql-0-bin.index", "./mysql-0-bin.000001\n./mysql-0-bin.000002\n");
        for other in ["mysql-10-bin.000001", "mysql-10-bin.index", "ibdata1", "mysql-0.pid", "relay-bin.index"] {
            write(other, "x");
        }
        let own = Member::from_hostname("db-1").unwrap();
        for _ in 0..2 {
            rename(&Spot::of(directory.path()).unwrap(), Ordinal(0), &own, || Ok(format!("{own}-bin"))).unwrap();
        }
        let names: Vec<String> = Contents::of(directory.path()).unwrap().foreign_names().map(str::to_owned).collect();
        let kept = ["ibdata1", "mysql-0.pid", "mysql-10-bin.000001", "mysql-10-bin.index", "relay-bin.index"];
        let renamed = ["db-1-bin.000001", "db-1-bin.000002", "db-1-bin.index", "db-1-bin.state"];
        assert_eq!(names, [&renamed[..], &kept[..]].concat());
        let index = std::fs::read_to_string(directory.path().join("db-1-bin.index")).unwrap();
        assert_eq!(index, "./db-1-bin.000001\n./db-1-bin.000002\n");
    }

    #[test]
    fn logs_that_the_server_will_look_for_keep_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["shop-0-bin.000001", "shop-0-bin.index"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let own = Member::from_hostname("db-0").unwrap();
        rename(&Spot::of(directory.path()).unwrap(), Ordinal(0), &own, || Ok("shop-0-bin".to_owned())).unwrap();
        assert!(directory.path().join("shop-0-bin.index").exists());
        // A set of another name, the same ordinal.
        rename(&Spot::of(directory.path()).unwrap(), Ordinal(0), &own, || Ok(format!("{own}-bin"))).unwrap();
        assert!(directory.path().join("db-0-bin.000001").exists() && directory.path().join("db-0-bin.index").exists());
    }

    /// The logs had a node's name before, as with the nodes' network: today's logs are kept.
    #[test]
    fn existing_logs_are_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        for base in ["db-0-bin", "worker-0-bin"] {
            std::fs::write(directory.path().join(format!("{base}.000001")), base).unwrap();
            std::fs::write(directory.path().join(format!("{base}.index")), format!("./{base}.000001\n")).unwrap();
        }
        let own = Member::from_hostname("db-0").unwrap();
        rename(&Spot::of(directory.path()).unwrap(), Ordinal(0), &own, || Ok(format!("{own}-bin"))).unwrap();
        for base in ["db-0-bin", "worker-0-bin"] {
            assert_eq!(std::fs::read_to_string(directory.path().join(format!("{base}.000001"))).unwrap(), base);
        }
    }
}
