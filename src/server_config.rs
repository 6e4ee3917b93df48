//! What the server's configuration files say, where a clone depends on it.

use std::path::Path;

/// Sections that the servers of the family read, by their beginning: `[mysqld]`, `[mariadbd-10.11]`, `[server]`.
const SECTIONS: [&str; 4] = ["mysqld", "mariadb", "mariadbd", "server"];

/// InnoDB's page size in bytes, where a file of this directory sets it. Files are read in the order of their names, and
/// the last word counts, as with `!includedir`.
pub fn page_size(directory: &Path) -> Option<u64> {
    let mut files: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cnf"));
    files.sort();
    files.iter().filter_map(|file| page_size_in(&std::fs::read_to_string(file).ok()?)).next_back()
}

fn page_size_in(text: &str) -> Option<u64> {
    let mut is_for_server = false;
    let mut found = None;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_for_server = SECTIONS.iter().any(|name| section.starts_with(name));
        } else if let Some((name, value)) = line.split_once('=')
            && is_for_server
            && name.trim().replace('-', "_") == "innodb_page_size"
        {
            found = bytes(value.trim());
        }
    }
    found
}

fn bytes(text: &str) -> Option<u64> {
    match text.strip_suffix(['k', 'K']) {
        Some(thousands) => Some(thousands.parse::<u64>().ok()? << 10),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_for_the_server_counts() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(page_size(directory.path()), None);
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("a.cnf", "[mysqld]\ninnodb-page-size = 8k # small\n[client]\ninnodb_page_size=4k\n");
        write("b.cnf.off", "[mysqld]\ninnodb_page_size=64k\n");
        assert_eq!(page_size(directory.path()), Some(8192));
        write("b.cnf", "[mariadb]\ninnodb_page_size=32768\n");
        assert_eq!(page_size(directory.path()), Some(32768));
    }
}
