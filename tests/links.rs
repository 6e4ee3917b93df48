//! Every page is in the book's summary, and every link, anchor and path on a page exists.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The bases of the paths on pages.
const FOLDERS: [&str; 7] = ["src/", "tests/", "k8s/", "docs/", "docker/", "fuzz/", ".github/"];

/// Files that a page has its reader make.
const TO_BE_MADE: [&str; 1] = ["tests/scenarios/pod_deletion.rs"];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("pages").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { markdown(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The book's pages, the README and the manifests' overview.
fn pages() -> Vec<PathBuf> {
    let mut pages = markdown(&project().join("docs"));
    pages.extend(["README.md", "k8s/README.md"].map(|name| project().join(name)));
    pages
}

/// A text without its code.
fn prose(text: &str) -> String {
    let outside_blocks: String = text.split("```").step_by(2).collect();
    outside_blocks.split('`').step_by(2).collect()
}

/// The targets of a page's links, except external ones.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    targets.filter(|target| !target.starts_with("https://")).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside_blocks: String = text.split("```").step_by(2).collect();
    let headings = outside_blocks.lines().filter(|line| line.starts_with('#'));
    let slug = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(slug).collect()
}

/// A path without its steps up.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let book = project().join("docs");
    let mut seen = 0;
    for page in pages() {
        for link in links(&prose(&text(&page))) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = page.parent().expect("a directory");
            let target = if path.is_empty() { page.clone() } else { plain(&directory.join(path)) };
            assert!(target.exists(), "{} leads to {link}, which is not there", page.display());
            let stays = !page.starts_with(&book) || target.starts_with(&book);
            assert!(stays, "{} leads to {link}: a page of the book can only lead to others", page.display());
            let found = anchor.is_empty() || anchors(&text(&target)).contains(anchor);
            assert!(found, "{} leads to {link}, where no heading has that anchor", page.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} links");
}

#[test]
fn every_page_is_in_the_summary_once() {
    let book = project().join("docs");
    let summary = book.join("SUMMARY.md");
    let mut listed: Vec<PathBuf> = links(&text(&summary)).iter().map(|link| book.join(link)).collect();
    listed.sort();
    let mut pages: Vec<PathBuf> = markdown(&book).into_iter().filter(|page| *page != summary).collect();
    pages.sort();
    assert_eq!(listed, pages);
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    let mut seen = 0;
    for page in pages() {
        let text = text(&page);
        let words = text.split(|letter| !is_part(letter)).map(|word| word.trim_end_matches('.'));
        for word in words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
            let is_there = project().join(word).exists() || TO_BE_MADE.contains(&word);
            assert!(is_there, "{} names {word}, which is not there", page.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} paths");
}
