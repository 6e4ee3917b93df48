//! Checks names of members: relative, plain, and distinct from our own files.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::{UnpackError, forbidden, malformed};

/// The prefix of all our own names, in a data directory or beside it. Backups must not contain such names.
pub const OUR_PREFIX: &str = ".mysqlset";

/// Deeper than any file of a server.
const DEPTH: usize = 8;

/// The longest component that file systems allow.
const COMPONENT: usize = 255;

/// A safe relative path. No component is empty, `.` or `..`, contains NUL or `\`, is one of ours, or is
/// [`forbidden`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberPath(Vec<u8>);

impl MemberPath {
    /// Checks a name from a stream.
    pub fn new(bytes: &[u8]) -> Result<MemberPath, UnpackError> {
        let path = MemberPath(bytes.to_vec());
        let refuse = |why: &str| malformed(format!("the name {path} is refused: {why}"));
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.starts_with(b"/") {
            return refuse("it is absolute");
        }
        if bytes.iter().any(|byte| matches!(byte, 0..=31 | 127 | b'\\')) {
            return refuse("it contains a control character or a backslash");
        }
        let mut depth = 0;
        for component in path.components() {
            depth += 1;
            match component.as_bytes() {
                b"" | b"." | b".." => return refuse("it has an empty component, `.` or `..`"),
                ours if ours.starts_with(OUR_PREFIX.as_bytes()) => return refuse("such names belong to mysqlset"),
                long if long.len() > COMPONENT => return refuse("a component is too long"),
                _ => {}
            }
        }
        if path.components().next().is_none_or(|top| top.to_str().is_none()) {
            return refuse("names at the top of a data directory are always UTF-8");
        }
        if depth > DEPTH {
            return refuse("it is too deep");
        }
        if let Some(why) = forbidden::why(path.components().map(OsStr::as_bytes)) {
            return refuse(why);
        }
        Ok(path)
    }

    /// The path with one level of encoding removed: `@0040` becomes `@`.
    pub fn decoded_once(&self) -> Option<MemberPath> {
        const ENCODED: &[u8] = b"@0040";
        let mut rest = &self.0[..];
        let mut decoded = Vec::with_capacity(rest.len());
        while let Some(&byte) = rest.first() {
            let is_encoded = rest.starts_with(ENCODED);
            decoded.push(byte);
            rest = &rest[if is_encoded { ENCODED.len() } else { 1 }..];
        }
        (decoded != self.0).then_some(MemberPath(decoded))
    }

    pub fn ends_with(&self, suffix: &[u8]) -> bool {
        self.0.ends_with(suffix)
    }

    /// The prefix of a pattern. mariadb-backup uses a pattern to report that all partitions of a table were
    /// dropped. File names are free of `*`: the server writes it as `@002a`.
    pub fn prefix(&self) -> Option<&[u8]> {
        let prefix = self.split().1.as_bytes().strip_suffix(b"*")?;
        prefix.ends_with(b"#P#").then_some(prefix)
    }

    /// Whether this path covers the other: it is the same, a parent, or a pattern that matches.
    pub fn means(&self, other: &MemberPath) -> bool {
        let is_below = other.0.strip_prefix(&self.0[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let is_like =
            |prefix: &[u8]| other.split().0 == self.split().0 && other.split().1.as_bytes().starts_with(prefix);
        is_below || self.prefix().is_some_and(is_like)
    }

    /// From the top directory down to the name itself.
    pub fn components(&self) -> impl Iterator<Item = &OsStr> {
        self.0.split(|byte| *byte == b'/').map(OsStr::from_bytes)
    }

    /// The whole path.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// The directory, or `None` at the top, and the name in it.
    pub fn split(&self) -> (Option<&OsStr>, &OsStr) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (Some(OsStr::from_bytes(&self.0[..at])), OsStr::from_bytes(&self.0[at + 1..])),
            None => (None, self.as_os_str()),
        }
    }
}

/// Escaped and shortened, because it comes from outside.
impl fmt::Display for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(200)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in
            ["ibdata1", "app/t.ibd", "#innodb_redo/#ib_redo1", "we@0020ird/t@002dn.frm", ".rocksdb/CURRENT", "a..b/c."]
        {
            assert_eq!(MemberPath::new(name.as_bytes()).unwrap().to_string(), name);
        }
    }

    #[test]
    fn names_that_are_encoded_twice_are_detected() {
        let decoded =
            |name: &str| MemberPath::new(name.as_bytes()).unwrap().decoded_once().map(|path| path.to_string());
        assert_eq!(decoded("mm/a@0040002db.MAD").as_deref(), Some("mm/a@002db.MAD"));
        assert_eq!(decoded("s@00400020p/@00400024d.MAD").as_deref(), Some("s@0020p/@0024d.MAD"));
        assert_eq!(decoded("mm/a@002db.MAD"), None);
    }

    #[test]
    fn names_at_the_top_are_text() {
        assert!(MemberPath::new(b"app/\xff.ibd").is_ok());
        assert!(MemberPath::new(b"\xff/t.ibd").is_err() && MemberPath::new(b"\xff").is_err());
    }

    #[test]
    fn hostile_names_are_refused() {
        let deep = "d/".repeat(DEPTH) + "f";
        let long = "n".repeat(COMPONENT + 1);
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "./x",
            "a/./x",
            "a//x",
            "a/",
            "a\0b",
            "a\\b",
            "a\nb",
            ".",
            "..",
            ".mysqlset.json",
            ".mysqlset-stage/x",
            "a/.mysqlset.json",
            "evil.so",
            "app/t.isl",
            "lost+found/x",
            "auto.cnf",
            &deep,
            &long,
        ] {
            assert!(MemberPath::new(name.as_bytes()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_from_outside_are_shown_escaped_and_short() {
        let error = MemberPath::new(b"/\x1b[31m").unwrap_err().to_string();
        assert!(error.contains("\\x1b[31m"), "{error}");
        let error = MemberPath::new("/x".repeat(500).as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 400, "{error}");
    }
}
