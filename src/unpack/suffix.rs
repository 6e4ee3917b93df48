//! Refuses members that the backup tool compressed or encrypted. It does so only by its own options, which a
//! mysqlset donor overrides; a legacy donor's options files may have them.
//!
//! | suffix | written by |
//! |---|---|
//! | `.zst` | XtraBackup from 8.0.30 with `--compress` |
//! | `.lz4` | XtraBackup from 8.0.7 with `--compress` |
//! | `.qp` | XtraBackup up to 8.0.33, and mariadb-backup, with `--compress` |
//! | `.xbcrypt`, after these | XtraBackup with `--encrypt` |

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// Each suffix, what was done to the member, and the option to remove.
const REFUSED: [(&[u8], &str, &str); 4] = [
    (b".xbcrypt", "encrypted", "encrypt"),
    (b".zst", "compressed", "compress"),
    (b".lz4", "compressed", "compress"),
    (b".qp", "compressed", "compress"),
];

/// The path of a member whose content is as it was in the data directory.
pub fn plain_path(name: &[u8]) -> Result<MemberPath, UnpackError> {
    let mut plain = name;
    let mut refused = None;
    for (suffix, how, option) in REFUSED {
        if let Some(rest) = plain.strip_suffix(suffix).filter(|rest| !rest.is_empty() && !rest.ends_with(b"/")) {
            plain = rest;
            refused.get_or_insert((how, option));
        }
    }
    // With its suffixes the name may be longer than a file's.
    let path = MemberPath::new(plain)?;
    match refused {
        None => Ok(path),
        Some((how, option)) => malformed(format!(
            "{path} is {how} by the backup tool: remove `{option}` from the options files that the donor's backup tool \
             reads"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_and_encrypted_members_are_refused_with_a_remedy() {
        let long = format!("{}.ibd.zst.xbcrypt", "@4e2d".repeat(50));
        for (name, option) in [
            (long.as_str(), "`encrypt`"),
            (long.trim_end_matches(".xbcrypt"), "`compress`"),
            ("a.zst", "`compress`"),
            ("db/t.ibd.lz4", "`compress`"),
            ("a.qp", "`compress`"),
            ("a.xbcrypt", "`encrypt`"),
            ("a.zst.xbcrypt", "`encrypt`"),
        ] {
            let error = plain_path(name.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("remove {option}")), "{name}: {error}");
        }
        for name in ["a.zst/b", "a/b.zst4", "a/.zst", "a/.lz4", "ibdata1"] {
            assert_eq!(plain_path(name.as_bytes()).unwrap().to_string(), name);
        }
    }
}
