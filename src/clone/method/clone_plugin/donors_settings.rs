//! What a recipient's private server takes from a donor: the settings without which the copy can't be opened, and plugins
//! of the image.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::server::plugin::{LIBRARY, SHARED_SETTINGS};

/// Options for both. A donor's word goes no further than the settings that it is asked for, and none of those leads out of
/// the stage.
pub fn options(settings: &BTreeMap<String, String>, libraries: &[String]) -> Vec<OsString> {
    let settings = settings.iter().filter(is_safe_setting).map(|(name, value)| format!("--{name}={value}"));
    let own = std::iter::once(format!("--plugin-load-add={LIBRARY}"));
    settings.chain(own).chain(loading(libraries)).map(OsString::from).collect()
}

fn is_safe_setting((name, value): &(&String, &String)) -> bool {
    SHARED_SETTINGS.contains(&name.as_str())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:;.,-".contains(&byte))
        && !value.contains("..")
}

/// Options that load the donor's plugins, by library.
fn loading(libraries: &[String]) -> impl Iterator<Item = String> + '_ {
    let is_safe = |library: &&String| {
        library.ends_with(".so") && library.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let others = libraries.iter().filter(is_safe).filter(|library| *library != LIBRARY);
    others.map(|library| format!("--plugin-load-add={library}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_donor_sets_nothing_else_here() {
        let pass = |name: &str, value: &str| is_safe_setting(&(&name.to_owned(), &value.to_owned()));
        assert!(pass("innodb_page_size", "16384") && pass("innodb_data_file_path", "ibdata1:12M:autoextend"));
        assert!(!pass("innodb_data_file_path", "../../mysql/ibdata1:12M") && !pass("innodb_data_file_path", "/x:12M"));
        assert!(!pass("innodb_data_file_path", "..:12M"));
        assert!(!pass("init_file", "/tmp/x.sql") && !pass("collation_server", "x y") && !pass("plugin_dir", "/tmp"));
        let libraries = ["mysql_clone.so", "auth_socket.so", "../evil.so", "x.so --init-file=/x"].map(str::to_owned);
        assert_eq!(loading(&libraries).collect::<Vec<_>>(), ["--plugin-load-add=auth_socket.so"]);
    }
}
