//! Incomplete copies, and configurations with which no server starts on them.

use std::path::Path;

use anyhow::{Context, Result};
use harness::logged::Said;
use harness::pods::servers::tested;
use harness::rehearsal::{Staged, odd};
use mysqlset::model::event::Event;

fn zero(path: &Path) -> Result<()> {
    let length = std::fs::metadata(path)?.len();
    Ok(std::fs::write(path, vec![0; usize::try_from(length)?])?)
}

fn cut(path: &Path, length: u64) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    assert!(file.metadata()?.len() > length, "{} is not longer", path.display());
    Ok(file.set_len(length)?)
}

fn swap(data: &Path, one: &str, other: &str) -> Result<()> {
    let between = data.join("between");
    for (from, to) in
        [(data.join(one), between.clone()), (data.join(other), data.join(one)), (between, data.join(other))]
    {
        std::fs::rename(from, to)?;
    }
    Ok(())
}

/// Stages a copy, damages it, and has `clone` look at it as the second backup.
fn refused(name: &str, damage: impl Fn(&Path) -> Result<()>, words: &[&str]) -> Result<()> {
    let staged = Staged::of(odd(), 1)?;
    damage(&staged.data()).with_context(|| name.to_owned())?;
    expect_refusal(name, &staged, words)
}

/// Expects a refusal by the rehearsal.
fn expect_refusal(name: &str, staged: &Staged, words: &[&str]) -> Result<()> {
    expect_end(name, staged, (44, Event::ExitRehearsal), words)
}

fn expect_end(name: &str, staged: &Staged, (code, event): (i32, Event), words: &[&str]) -> Result<()> {
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(code), "{name}: {}", ended.log);
    assert!(!staged.is_published() && !staged.stage().exists(), "{name}");
    let told = ended.log.lines_of(event).pop().with_context(|| format!("{name}: {}", ended.log))?;
    for word in words {
        assert!(told.text.contains(word), "{name}: {word:?} is not in {}", told.text);
    }
    Ok(())
}

#[test]
fn damage_to_innodbs_files_is_noticed() -> Result<()> {
    type Damage = fn(&Path) -> Result<()>;
    let cases: [(&str, Damage); 5] = [
        ("zeroed", |data| zero(&data.join("app/t.ibd"))),
        ("cut", |data| cut(&data.join("app/t.ibd"), 2 * 16384)),
        ("missing", |data| Ok(std::fs::remove_file(data.join("app/t.ibd"))?)),
        ("another's", |data| Ok(std::fs::copy(data.join("app/computed.ibd"), data.join("app/t.ibd")).map(drop)?)),
        ("swapped", |data| swap(data, "app/t.ibd", "app/computed.ibd")),
    ];
    for (name, damage) in cases {
        // MySQL's server may notice at its start that a file belongs to another table, or crash on it.
        let words: &[&str] = match (tested().is_mariadb(), name) {
            (true, "swapped") => &["`app`."],
            (true, _) => &["`app`.`t`", "--rehearsal off"],
            (false, _) => &[],
        };
        refused(name, damage, words)?;
    }
    Ok(())
}

#[test]
fn damage_to_other_engines_files_is_noticed() -> Result<()> {
    type Damage = fn(&Path) -> Result<()>;
    let both: [(&str, Damage, &str); 2] = [
        ("MyISAM's rows cut", |data| cut(&data.join("app/m.MYD"), 10), "`app`.`m`"),
        ("MyISAM's index cut", |data| cut(&data.join("app/m.MYI"), 1100), "`app`.`m`"),
    ];
    let mariadbs: [(&str, Damage, &str); 6] = [
        ("an engine's name damaged", |data| replace(&data.join("app/t.frm"), b"InnoDB", b"InnoDX"), "app/t.ibd"),
        ("another's list of partitions", |data| other_partition(&data.join("app/part.par")), "`app`.`part`"),
        ("Aria's rows cut", |data| cut(&data.join("app/a.MAD"), 8192), "`app`.`a`"),
        ("a system table of Aria's cut", |data| cut(&data.join("mysql/proc.MAD"), 8192), "`mysql`.`proc`"),
        ("a definition cut", |data| cut(&data.join("app/t.frm"), 100), "`app`.`t`"),
        ("a list of partitions missing", |data| Ok(std::fs::remove_file(data.join("app/part.par"))?), "`app`.`part`"),
    ];
    // In MariaDB the definition names its engine's files. MySQL has no such definition.
    for (table, ending) in [("m", "MYD"), ("m", "MYI"), ("c", "CSV"), ("a", "MAD"), ("a", "MAI")] {
        let (file, name) = (format!("app/{table}.{ending}"), format!("{table}.{ending} missing"));
        let remove = |data: &Path| Ok(std::fs::remove_file(data.join(&file))?);
        if tested().is_mariadb() {
            let staged = Staged::of(odd(), 1)?;
            remove(&staged.data())?;
            let words = format!("app/{table}.frm has no .{ending} file");
            expect_end(&name, &staged, (41, Event::ExitPrepare), &[&words])?;
        } else if table != "a" {
            refused(&name, remove, &[&format!("`app`.`{table}`")])?;
        }
    }
    for (name, damage, table) in both {
        refused(name, damage, &[table])?;
    }
    for (name, damage, table) in mariadbs.into_iter().filter(|_| tested().is_mariadb()) {
        refused(name, damage, &[table])?;
    }
    Ok(())
}

fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let at = bytes.windows(old.len()).position(|found| found == old).context("it is not in there")?;
    bytes[at..at + new.len()].copy_from_slice(new);
    Ok(std::fs::write(path, bytes)?)
}

/// Changes the last partition's name, and gives the list a correct sum.
/// (`create_handler_file()` in sql/ha_partition.cc: the second word makes the XOR of all words 0.)
fn other_partition(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let last = bytes.iter().rposition(u8::is_ascii_alphanumeric).context("no name is in there")?;
    bytes[last] ^= 4;
    bytes[4 + last % 4] ^= 4;
    Ok(std::fs::write(path, bytes)?)
}

#[test]
fn a_copy_that_the_pods_configuration_does_not_fit_is_not_published() -> Result<()> {
    let group = if tested().is_mariadb() { "[mariadb]" } else { "[mysqld]" };
    let cases = [
        ("another page size", "innodb_page_size = 8192", "page"),
        ("an unknown option", "no_such_option = 1", "no_such_option"),
        ("other data files", "innodb_data_file_path = other1:12M;other2:12M:autoextend", "other1"),
    ];
    for (name, line, word) in cases {
        let staged = Staged::of(odd(), 1)?;
        staged.configure(&format!("{group}\n{line}\n"))?;
        expect_refusal(name, &staged, &[word])?;
    }
    Ok(())
}

/// Two backups are tried, as with a prepare that fails.
#[test]
fn the_first_copy_that_fails_is_given_up_for_another() -> Result<()> {
    let staged = Staged::of(odd(), 0)?;
    staged.configure("[mysqld]\nno_such_option = 1\n")?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(20), "{}", ended.log);
    assert!(ended.log.has_with(Event::CloneAnotherBackup, "no_such_option"), "{}", ended.log);
    assert!(!staged.is_published());
    Ok(())
}

/// Definitions without a table and tables with a crash mark came from the donor as they are.
#[test]
fn tables_that_the_donor_cannot_read_do_not_refuse_the_copy() -> Result<()> {
    let staged = Staged::of(odd(), 1)?;
    let index = staged.data().join("app/m.MYI");
    let mut bytes = std::fs::read(&index)?;
    // STATE_CRASHED in MyISAM's state, after the header and the number of users.
    bytes[26] |= 2;
    std::fs::write(index, bytes)?;
    if tested().is_mariadb() {
        std::fs::copy(staged.data().join("app/t.frm"), staged.data().join("app/orphan.frm"))?;
    }
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    // The two new ones, or one and the table that `odd` has discarded; and its MERGE table.
    assert_eq!(ended.not_readable(), Some(3), "{}", ended.log);
    Ok(())
}
