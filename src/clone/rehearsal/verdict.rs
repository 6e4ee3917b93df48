//! What a server's answer about one table says about the copy.

use crate::server::opening::Answer;

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    /// It can't be read here, and that is nothing against the copy: the donor's server could not read it either, or has an
    /// engine that this one lacks.
    NotReadable(&'static str),
    /// InnoDB says that it has no such table: true at the donor too, where InnoDB's dictionary does not have it.
    UnknownToInnodb(String),
    /// It is marked as crashed: by the donor's server, where the copy's own index file has the mark.
    MarkedAsCrashed(String),
    /// Its definition names an engine that is not here: true at the donor too, where no files of another engine's lie beside
    /// the definition.
    UnknownEngine(String),
    /// The copy's files are not those of a table that can be read.
    Damaged(String),
    /// The server did not survive it.
    Died(String),
    /// The server did not answer.
    Hung,
}

/// Errors that tell what the donor's own files say: they stand in the dictionary, or in a definition that the donor reads too.
const NOT_READABLE: [(u16, &str); 5] = [
    // ER_WRONG_MRG_TABLE
    (1168, "a MERGE table whose tables are missing, or are not alike"),
    // ER_TABLESPACE_DISCARDED
    (1814, "its tablespace is discarded"),
    // ER_PLUGIN_IS_NOT_LOADED: a private server loads nothing that a table of the copy names.
    (1524, "a plugin that it needs is not loaded here"),
    // ER_UNKNOWN_DATA_TYPE of MariaDB, and its ER_PROVIDER_NOT_LOADED: the same.
    (4161, "a plugin that brings a data type of it is not loaded here"),
    (4185, "a plugin that decompresses it is not loaded here"),
];

/// ER_NO_SUCH_TABLE_IN_ENGINE
const UNKNOWN_TO_ENGINE: u16 = 1932;

/// ER_UNKNOWN_STORAGE_ENGINE
const UNKNOWN_ENGINE: u16 = 1286;

/// What MyISAM and Aria say of a table that carries the mark of an earlier crash.
const MARKED: &str = "marked as crashed";

/// Judges an answer.
pub fn judge(answer: Answer) -> Verdict {
    match answer {
        Answer::Done => Verdict::Whole,
        Answer::Checked(said) => judge_check(&said),
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

fn judge_check(said: &[(String, String)]) -> Verdict {
    let is = |kind: &str, expected: &str| kind.eq_ignore_ascii_case(expected);
    if said.iter().any(|(kind, text)| is(kind, "warning") && text.contains(MARKED)) {
        let error = said.iter().find(|(kind, _)| is(kind, "error"));
        return Verdict::MarkedAsCrashed(error.map_or(MARKED.to_owned(), |(_, text)| format!("{MARKED}; {text}")));
    }
    match said.iter().find(|(kind, _)| is(kind, "error")) {
        Some((_, text)) => Verdict::Damaged(format!("CHECK TABLE: {text}")),
        None if said.is_empty() => Verdict::Damaged("CHECK TABLE said nothing".to_owned()),
        None => Verdict::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(said: &[(&str, &str)]) -> Verdict {
        judge(Answer::Checked(said.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()))
    }

    #[test]
    fn errors_are_damage_but_for_a_list() {
        let error = |code| judge(Answer::Error { code, text: "x".to_owned() });
        for code in [1168, 1814] {
            assert!(matches!(error(code), Verdict::NotReadable(_)), "{code}");
        }
        // Missing, truncated, a cut .frm, Aria's and MyISAM's files, CSV's, .par; and one that nobody has seen yet.
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
    fn a_server_that_dies_or_hangs_is_no_good_sign() {
        assert_eq!(judge(Answer::Silence), Verdict::Hung);
        assert_eq!(judge(Answer::Gone("broken pipe".into())), Verdict::Died("broken pipe".into()));
        assert_eq!(judge(Answer::Done), Verdict::Whole);
    }
}
