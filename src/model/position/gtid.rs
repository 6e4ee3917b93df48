//! GTIDs as the servers write them.
//!
//! MariaDB: `domain-server-sequence`, separated by commas, one for each domain. MySQL: `uuid[:tag]:first[-last][:…]`,
//! separated by commas; a tag, of MySQL 8.3 and later, holds for all intervals behind it until the next. (MySQL reference
//! manual, "GTID Sets"; WL#15294.)

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use super::Position;

/// The groups of hexadecimal digits in a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The longest tag, in characters.
const TAG_LIMIT: usize = 32;

/// MySQL's numbers are signed, and the last one stands for the end of them all.
const LAST_NUMBER: u64 = i64::MAX as u64 - 1;

/// A position in MariaDB's words; may be empty.
pub fn mariadb(slave_pos: &str) -> Result<Position> {
    let slave_pos = without_spaces(slave_pos)?;
    let mut domains = BTreeSet::new();
    for gtid in slave_pos.split(',').filter(|_| !slave_pos.is_empty()) {
        let Some(domain) = domain_of(gtid) else { bail!("{slave_pos:?} is not a MariaDB GTID position") };
        ensure!(domains.insert(domain), "{slave_pos:?} names the domain {domain} more than once");
    }
    Ok(Position::MariadbGtid { slave_pos })
}

fn domain_of(gtid: &str) -> Option<u64> {
    let mut numbers = gtid.split('-');
    let domain = number(numbers.next()?, u64::from(u32::MAX))?;
    number(numbers.next()?, u64::from(u32::MAX))?;
    number(numbers.next()?, u64::MAX)?;
    numbers.next().is_none().then_some(domain)
}

/// A set in MySQL's words; may not be empty.
pub fn mysql(executed: &str) -> Result<Position> {
    let executed = without_spaces(executed)?;
    ensure!(executed.split(',').all(is_of_one_uuid), "{executed:?} is not a MySQL GTID set");
    Ok(Position::MysqlGtid { executed })
}

fn is_of_one_uuid(text: &str) -> bool {
    let mut parts = text.split(':');
    let is_uuid = is_uuid(parts.next().unwrap_or_default());
    let intervals_or_tags: Option<Vec<bool>> =
        parts.map(|part| is_interval(part).then_some(true).or(is_tag(part).then_some(false))).collect();
    // No tag without an interval behind it.
    let is_complete = |parts: Vec<bool>| parts.last() == Some(&true) && parts.windows(2).all(|two| two[0] || two[1]);
    is_uuid && intervals_or_tags.is_some_and(is_complete)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq(UUID) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn is_tag(text: &str) -> bool {
    text.len() <= TAG_LIMIT
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_interval(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first, LAST_NUMBER), number(last, LAST_NUMBER)) {
        (Some(first), Some(last)) => first >= 1 && first <= last,
        _ => false,
    }
}

/// Digits only: no sign.
fn number(text: &str, limit: u64) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= limit)
}

/// Spaces and line ends mean nothing, but for those that part two numbers or names, which must not become one.
fn without_spaces(text: &str) -> Result<String> {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut words = text.split_whitespace();
    let mut joined = words.next().unwrap_or_default().to_owned();
    for word in words {
        ensure!(!(joined.ends_with(is_of_word) && word.starts_with(is_of_word)), "{text:?} is not a list of GTIDs");
        joined.push_str(word);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4E11FA47-71CA-11E1-9E33-C80AA9429562";

    fn of(text: &str) -> String {
        text.replace('A', A).replace('B', B)
    }

    #[test]
    fn sets_of_mysql() {
        for text in [
            "A:1",
            "A:1-10",
            "A:1-3:5:7-9",
            "A:1-10,B:1-2",
            "B:1-2",
            "A:blue:1-3",
            "A:blue:1-3:5",
            "A:1-10:blue:1-3:5",
            "A:1-10:blue:1-3:5:green:7",
            "A:blue:1:green:2,B:1:_x9:4",
            "A:bLUE:1",
            "A:1-9223372036854775806",
            "A:a2345678901234567890123456789012:1",
        ] {
            assert_eq!(mysql(&of(text)).unwrap(), Position::MysqlGtid { executed: of(text) }, "{text}");
        }
        let spaced = of(" A : 1-10 : blue : 1 - 3,\n B:1-2\n").replace(" - ", "-");
        assert_eq!(mysql(&spaced).unwrap(), Position::MysqlGtid { executed: of("A:1-10:blue:1-3,B:1-2") });
    }

    #[test]
    fn what_no_mysql_writes_is_refused() {
        for text in [
            "",
            "A",
            "A:",
            "A:blue",
            "A:1:blue",
            "A:blue:green:1",
            "A:1:blue:green:1",
            "A:1,",
            ",A:1",
            "A:1,,B:1",
            "A::1",
            "A:0",
            "A:0-3",
            "A:3-1",
            "A:1-",
            "A:-3",
            "A:1-2-3",
            "A:+1",
            "A:9223372036854775807",
            "A:99999999999999999999",
            "A:1-1 0",
            "A:1 2",
            "A:1\nB:1",
            "A:9blue:1",
            "A:bl-ue:1",
            "A:a23456789012345678901234567890123:1",
            "3e11fa4771ca11e19e33c80aa9429562:1",
            "3e11fa47-71ca-11e1-9e33-c80aa942956g:1",
            "------------------------------------:1",
            "0-100-7",
        ] {
            assert!(mysql(&of(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn positions_of_mariadb() {
        for text in ["", "0-100-7", "0-1-5,1-2-9", "4294967295-4294967295-18446744073709551615"] {
            assert_eq!(mariadb(text).unwrap(), Position::MariadbGtid { slave_pos: text.to_owned() });
        }
        assert_eq!(mariadb(" 0-1-5,\n1-2-9\n").unwrap(), Position::MariadbGtid { slave_pos: "0-1-5,1-2-9".into() });
    }

    #[test]
    fn what_no_mariadb_writes_is_refused() {
        for text in [
            "0",
            "0-1",
            "0-1-",
            "0-1-2-3",
            "a-1-2",
            "0-1-5 1-2-9",
            "0-1-5,",
            ",",
            "[]",
            "4294967296-1-1",
            "0-4294967296-1",
            "0-1-18446744073709551616",
            "0-+1-2",
        ] {
            assert!(mariadb(text).is_err(), "{text:?}");
        }
        // MariaDB says the same: ER_DUPLICATE_GTID_DOMAIN.
        assert!(mariadb("0-1-5,0-2-7").unwrap_err().to_string().contains("domain 0 more than once"));
    }
}
