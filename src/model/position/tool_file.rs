//! The position files that a backup tool leaves beside its data.
//!
//! Two files tell. `*_slave_info` exists when the donor was a replica and holds statements about the donor's *source*;
//! `*_binlog_info` holds the donor's *own* coordinates, right when the donor was the primary. The forms, by tool and
//! version, are those of XtraBackup 2.3 … 9 and mariadb-backup 10.2 … 11.8, checked against files that they wrote.

use anyhow::{Result, bail, ensure};

use super::{Position, gtid};

/// Which family's tool wrote a position file; they differ in what an empty GTID column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    XtraBackup,
    MariadbBackup,
}

/// Reads `file TAB position [TAB gtid]`. The GTID column may run over several lines (XtraBackup 2.x copies the
/// server's line breaks), and old MariaDB builds list every binary log, the current one last.
pub fn parse_binlog_info(text: &str, writer: Writer) -> Result<Position> {
    let text = text.trim_end_matches(['\n', '\r']);
    let current = if writer == Writer::MariadbBackup { text.lines().next_back().unwrap_or(text) } else { text };
    let mut columns = current.splitn(3, '\t');
    let (file, offset) = (columns.next().unwrap_or_default(), columns.next());
    let gtid = columns.next().map(str::trim);

    match (writer, gtid) {
        // It is the server's gtid_current_pos, which knows nothing of what was logged under another server id: empty
        // says nothing, while file and offset can be looked up at the source.
        (Writer::MariadbBackup, Some(slave_pos)) if !slave_pos.is_empty() => return gtid::mariadb(slave_pos),
        (Writer::XtraBackup, Some(executed)) if !executed.is_empty() => return gtid::mysql(executed),
        _ => {}
    }
    let Some(offset) = offset else { bail!("{current:?} is not FILE, tab, OFFSET") };
    binlog_file(file.trim(), offset.trim())
}

/// Reads the statements of `*_slave_info`: at most one `SET GLOBAL …`, then one `CHANGE …` for each connection, of
/// which there may be only one and only the unnamed.
pub fn parse_slave_info(text: &str) -> Result<Position> {
    let (mut gtids, mut changes) = (Vec::new(), Vec::new());
    // The `;` after the last statement is missing in XtraBackup 2.3.
    let statements = split_outside_quotes(text, |character| matches!(character, ';' | '\n'));
    for statement in statements.into_iter().filter(|statement| !statement.is_empty()) {
        let words = Words(statement);
        if let Some(rest) = words.after(&["SET", "GLOBAL"]) {
            gtids.push(parse_gtid_assignment(rest)?);
        } else if let Some(rest) =
            words.after(&["CHANGE", "MASTER"]).or_else(|| words.after(&["CHANGE", "REPLICATION", "SOURCE"]))
        {
            changes.push(rest);
        } else {
            bail!("unknown statement {statement:?}");
        }
    }
    ensure!(changes.len() <= 1, "the donor replicates from {} sources; mysqlset knows sets with one", changes.len());
    ensure!(gtids.len() <= 1, "{} GTID positions in {text:?}", gtids.len());
    let by_file = changes.pop().map(parse_change).transpose()?.flatten();
    match (gtids.pop(), by_file) {
        (_, Some(by_file)) => Ok(by_file),
        (Some(gtid), None) => Ok(gtid),
        (None, None) => bail!("neither a GTID nor a file and offset in {text:?}"),
    }
}

/// What lies between separators, without the space around it; quotes may hold separators, as a GTID set does a line end.
fn split_outside_quotes(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let mut is_quoted = false;
    let separates = |character: char| {
        is_quoted ^= character == '\'';
        !is_quoted && is_separator(character)
    };
    text.split(separates).map(str::trim).collect()
}

/// A statement whose first words are compared without case or spacing.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn after(&self, expected: &[&str]) -> Option<&'a str> {
        let mut rest = self.0;
        for word in expected {
            rest = rest.trim_start();
            let head = rest.get(..word.len())?;
            let tail = &rest[word.len()..];
            let ends = !tail.starts_with(|next: char| next.is_alphanumeric() || next == '_');
            if !head.eq_ignore_ascii_case(word) || !ends {
                return None;
            }
            rest = tail;
        }
        Some(rest.trim_start())
    }
}

/// `gtid_purged='…'` or `gtid_slave_pos = '…'`.
fn parse_gtid_assignment(text: &str) -> Result<Position> {
    let Some((name, value)) = text.split_once('=') else { bail!("{text:?} assigns nothing") };
    let value = unquoted(value)?;
    match name.trim().to_ascii_lowercase().as_str() {
        "gtid_purged" => gtid::mysql(value),
        "gtid_slave_pos" => gtid::mariadb(value),
        other => bail!("unknown variable {other:?}"),
    }
}

/// What follows `CHANGE MASTER` or `CHANGE REPLICATION SOURCE`: a file and offset, or `None` where it says GTID.
fn parse_change(text: &str) -> Result<Option<Position>> {
    let Some(settings) = Words(text).after(&["TO"]) else {
        bail!("the donor replicates over a named connection ({text:?}); mysqlset knows sets with one unnamed source");
    };
    let (mut file, mut offset, mut by_gtid) = (None, None, None);
    for setting in split_outside_quotes(settings, |character| character == ',') {
        let Some((name, value)) = setting.split_once('=') else { bail!("{setting:?} in {text:?} sets nothing") };
        let value = without_channel(value)?;
        match name.trim().to_ascii_uppercase().as_str() {
            "MASTER_LOG_FILE" | "SOURCE_LOG_FILE" => file = Some(unquoted(value)?),
            "MASTER_LOG_POS" | "SOURCE_LOG_POS" => offset = Some(value),
            "MASTER_AUTO_POSITION" | "SOURCE_AUTO_POSITION" | "MASTER_USE_GTID" => by_gtid = Some(value),
            other => bail!("unknown setting {other:?}"),
        }
    }
    let says_no = |value: &str| value == "0" || value.eq_ignore_ascii_case("no");
    match (file, offset, by_gtid) {
        (Some(file), Some(offset), by_gtid) if by_gtid.is_none_or(says_no) => binlog_file(file, offset).map(Some),
        (None, None, Some(by_gtid)) if !says_no(by_gtid) => Ok(None),
        _ => bail!("{text:?} is neither a file with its offset nor a GTID"),
    }
}

/// A setting's value; the last is followed by its channel, where it has one, which must be the unnamed.
fn without_channel(text: &str) -> Result<&str> {
    let text = text.trim();
    let end = match text.strip_prefix('\'') {
        Some(rest) => rest.find('\'').map(|end| end + 2),
        None => text.find(char::is_whitespace),
    };
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    match Words(rest).after(&["FOR", "CHANNEL"]) {
        Some("''") => {}
        Some(channel) => {
            bail!("the donor replicates over a named channel ({channel}); mysqlset knows sets with one unnamed source")
        }
        None => ensure!(rest.trim().is_empty(), "{rest:?} after {value:?}"),
    }
    Ok(value)
}

fn unquoted(value: &str) -> Result<&str> {
    let value = value.trim();
    match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) if !inner.contains('\'') => Ok(inner),
        _ => bail!("{value:?} is not one quoted text"),
    }
}

fn binlog_file(file: &str, offset: &str) -> Result<Position> {
    let file = file.strip_prefix("./").unwrap_or(file);
    let plain =
        !file.is_empty() && file.chars().all(|character| !character.is_control() && !"'\"\\/".contains(character));
    ensure!(plain, "{file:?} is not the name of a binary log");
    let Ok(offset) = offset.parse() else { bail!("{offset:?} is not an offset in a binary log") };
    Ok(Position::BinlogFile { file: file.to_owned(), offset })
}
