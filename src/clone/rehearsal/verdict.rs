//! Judges the copy by a server's answer about one table.

use crate::server::opening::Answer;

/// The verdict on a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    /// The table is unreadable here, but the copy is good. Either the donor's server could not read it, or this server
    /// lacks its engine.
    NotReadable(&'static str),
    /// InnoDB reports the table as missing. The donor is the same if InnoDB's dictionary lacks it.
    UnknownToInnodb(String),
    /// The table is marked as crashed. The donor's server did that if the copy's own index file has the mark.
    MarkedAsCrashed(String),
    /// The definition names an engine that is missing here. The donor is the same if no files of another engine lie
    /// beside the definition.
    UnknownEngine(String),
    /// The copy's files form no readable table.
    Damaged(String),
    /// The server died of it.
    Died(String),
    /// The server stayed silent.
    Hung,
}

/// Errors that describe the donor's own state: it is in the dictionary, or in a definition that the donor reads too.
const NOT_READABLE: [(u16, &str); 5] = [
    // ER_WRONG_MRG_TABLE
    (1168, "a MERGE table whose tables are missing or differ"),
    // ER_TABLESPACE_DISCARDED
    (1814, "its tablespace is discarded"),
    // ER_PLUGIN_IS_NOT_LOADED: a scratch server ignores the plugins that a copy's tables name.
    (1524, "a plugin that it needs is not loaded here"),
    // ER_UNKNOWN_DATA_TYPE of MariaDB, and its ER_PROVIDER_NOT_LOADED: the same.
    (4161, "a plugin for one of its data types is not loaded here"),
    (4185, "a plugin that decompresses it is not loaded here"),
];

/// ER_NO_SUCH_TABLE_IN_ENGINE
const UNKNOWN_TO_ENGINE: u16 = 1932;

/// ER_UNKNOWN_STORAGE_ENGINE
const UNKNOWN_ENGINE: u16 = 1286;

/// MyISAM's and Aria's words for a table with the mark of an earlier crash.
const MARKED: &str = "marked as crashed";

/// Judges an answer.
pub fn verdict_of(answer: Answer) -> Verdict {
    match answer {
        Answer::Done => Verdict::Whole,
        Answer::Checked(said) => verdict_of_check(&said),
        Answer::Error { code, text } => {
            let words = format!("error {code}: {text}");
            match NOT_READABLE.iter().find(|(number, _)| *number == code) {
                Some((_, why)) => Verdict::NotReadable(why),
                None if code == UNKNOWN_TO_ENGINE => Verdict::UnknownToInnodb(words),
                None if code == UNKNOWN_ENGINE => Verdict::UnknownEngine(words),
                None => Verdict::Damaged(words),
            }
        }
        Answer::Silence => Verdict::Hung,
        Answer::Gone(how) => Verdict::Died(how),
    }
}

fn verdict_of_check(said: &[(String, String)]) -> Verdict {
    let is = |kind: &str, expected: &str| kind.eq_ignore_ascii_case(expected);
    if said.iter().any(|(kind, text)| is(kind, "warning") && text.contains(MARKED)) {
        let error = said.iter().find(|(kind, _)| is(kind, "error"));
        return Verdict::MarkedAsCrashed(error.map_or(MARKED.to_owned(), |(_, text)| format!("{MARKED}; {text}")));
    }
    match said.iter().find(|(kind, _)| is(kind, "error")) {
        Some((_, text)) => Verdict::Damaged(format!("CHECK TABLE: {text}")),
        None if said.is_empty() => Verdict::Damaged("CHECK TABLE returned no rows".to_owned()),
        None => Verdict::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(said: &[(&str, &str)]) -> Verdict {
        verdict_of(Answer::Checked(said.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()))
    }

    #[test]
    fn errors_are_damage_except_for_a_list() {
        let error = |code| verdict_of(Answer::Error { code, text: "x".to_owned() });
        for code in [1168, 1814] {
            assert!(matches!(error(code), Verdict::NotReadable(_)), "{code}");
        }
        // Missing, truncated, a cut .frm, Aria's and MyISAM's files, CSV's, .par; and an unknown one.
        for code in [1030, 1877, 1033, 29, 1017, 13, 1696, 1812, 1146, 65_000] {
            assert_eq!(error(code), Verdict::Damaged(format!("error {code}: x")));
        }
        assert!(matches!(error(1932), Verdict::UnknownToInnodb(_)));
        assert!(matches!(error(1286), Verdict::UnknownEngine(_)));
    }

    #[test]
    fn a_check_is_judged_by_its_errors() {
        assert_eq!(checked(&[("status", "OK")]), Verdict::Whole);
        assert_eq!(
            checked(&[("warning", "1 client is using or hasn't closed the table properly"), ("status", "OK")]),
            Verdict::Whole
        );
        assert_eq!(checked(&[("note", "The storage engine for the table doesn't support check")]), Verdict::Whole);
        let cut = [("error", "Size of datafile is: 100         Should be: 200"), ("error", "Corrupt")];
        assert!(matches!(checked(&cut), Verdict::Damaged(text) if text.contains("Size of datafile")));
        let crashed = [("warning", "Table is marked as crashed"), ("error", "Found 1 keys of 2"), ("error", "Corrupt")];
        assert_eq!(checked(&crashed), Verdict::MarkedAsCrashed("marked as crashed; Found 1 keys of 2".to_owned()));
        assert!(matches!(checked(&[]), Verdict::Damaged(_)));
    }

    #[test]
    fn a_server_that_dies_or_hangs_counts_against_the_copy() {
        assert_eq!(verdict_of(Answer::Silence), Verdict::Hung);
        assert_eq!(verdict_of(Answer::Gone("broken pipe".into())), Verdict::Died("broken pipe".into()));
        assert_eq!(verdict_of(Answer::Done), Verdict::Whole);
    }
}
