//! Plain English: the length of sentences, negations, and words that the glossary replaces. The README, the book, help
//! texts, and the comments of `src/` are measured, except the entries of `NOT_YET`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use mysqlset::cli::Cli;

/// Nine of ten sentences have at most this many words.
const LONGEST: usize = 28;

/// Negations in a hundred words.
const MOST_NEGATIONS: f64 = 1.6;

/// A shorter text is too small for a measure.
const LEAST_WORDS: usize = 200;

/// Texts that still await their rewrite: pages, the help of a command, sources, folders with all sources below.
const NOT_YET: &[&str] = &[];

const NEGATIONS: [&str; 10] =
    ["nobody", "nothing", "none", "neither", "nor", "no", "not", "never", "without", "cannot"];

const CONTRACTED: [&str; 4] = ["can't", "isn't", "doesn't", "don't"];

/// Words with a replacement, and that replacement.
const WORDS: [(&str, &str); 36] = [
    ("whoever", "the noun: a recipient, an operator"),
    ("whatever", "the noun"),
    ("anew", "again"),
    ("turned away", "denied access, refused"),
    ("turns away", "denies access, refuses"),
    ("turns us away", "denies access"),
    ("stands still", "is idle, is stalled"),
    ("the word of", "the subject: the server reports"),
    ("by name", "explicit, or: with its name"),
    ("be it that", "even if"),
    ("of no use", "useless"),
    ("that is so", "the statement itself"),
    ("who wants", "the noun"),
    ("who knows", "the noun"),
    ("who has", "the noun"),
    ("who asks", "the noun"),
    ("who gives", "the noun"),
    ("who gets", "the noun"),
    ("who comes", "the noun"),
    ("who reads", "the noun"),
    ("who may", "the noun"),
    ("master", "primary, source"),
    ("slave", "replica"),
    ("leader", "primary"),
    ("follower", "replica"),
    ("standby", "replica"),
    ("its turn", "its slot"),
    ("one turn", "one slot"),
    ("a turn", "a slot"),
    ("passphrase", "clone secret"),
    ("shared secret", "clone secret"),
    ("clone password", "clone secret"),
    ("staging directory", "stage"),
    ("staging area", "stage"),
    ("unproven stream", "legacy stream"),
    ("config map", "ConfigMap"),
];

/// The measures of a text.
struct Measured {
    words: usize,
    longest: usize,
    negations: f64,
    replaced: Vec<String>,
}

impl Measured {
    fn of(parts: &[String]) -> Measured {
        let sentences: Vec<String> = parts.iter().flat_map(|part| sentences(part)).collect();
        let mut lengths: Vec<usize> = sentences.iter().map(|sentence| sentence.split_whitespace().count()).collect();
        lengths.sort_unstable();
        let words: usize = lengths.iter().sum();
        let ninth = if lengths.len() > 9 { lengths.len() * 9 / 10 } else { lengths.len().saturating_sub(1) };
        let negations: usize = sentences.iter().map(|sentence| negations(sentence)).sum();
        Measured {
            words,
            longest: lengths.get(ninth).copied().unwrap_or(0),
            negations: 100.0 * negations as f64 / words.max(1) as f64,
            replaced: Vec::new(),
        }
    }

    /// The same, with the listed words that occur in this text outside its code.
    fn with_words_of(mut self, text: &str) -> Measured {
        let blocks: String = text.split("```").step_by(2).collect();
        let prose: String = blocks.split('`').step_by(2).collect();
        let words = format!(" {} ", words(&prose).join(" "));
        let found = WORDS.iter().filter(|(word, _)| words.contains(&format!(" {word} ")));
        self.replaced = found.map(|(word, other)| format!("{word:?} (write: {other})")).collect();
        self
    }

    /// The broken rules.
    fn complaint(&self) -> Option<String> {
        let is_long = self.words > LEAST_WORDS;
        let mut complaints = self.replaced.clone();
        if is_long && self.longest > LONGEST {
            complaints.push(format!("sentences of {} words, at most {LONGEST}", self.longest));
        }
        if is_long && self.negations > MOST_NEGATIONS {
            complaints.push(format!("{:.1} negations in 100 words, at most {MOST_NEGATIONS}", self.negations));
        }
        (!complaints.is_empty()).then(|| complaints.join(", "))
    }
}

/// Lower-case words of letters, digits, underscores and inner apostrophes.
fn words(text: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || "_'".contains(letter);
    let words = text.split(|letter| !is_part(letter)).map(|word| word.trim_matches('\'').to_lowercase());
    words.filter(|word| !word.is_empty()).collect()
}

fn negations(sentence: &str) -> usize {
    let counts = |word: &&String| NEGATIONS.contains(&word.as_str()) || CONTRACTED.contains(&word.as_str());
    words(sentence).iter().filter(counts).count()
}

/// A text from which the parts between two marks are removed, with the marks. Empty parts stay.
fn without(text: &str, open: &str, close: char, instead: &str) -> String {
    let mut parts = text.split(open);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(close) {
            Some((inside, rest)) if !inside.is_empty() => kept += &format!("{instead}{rest}"),
            _ => kept += &format!("{open}{part}"),
        }
    }
    kept
}

/// The paragraphs and list items of a Markdown text; no code, table, heading or link target.
fn paragraphs(text: &str) -> Vec<String> {
    let text: String = text.split("```").step_by(2).collect();
    let text = without(&without(&text, "<", '>', ""), "](", ')', "]");
    let mut parts = vec![String::new()];
    for line in text.lines() {
        let start = line.trim_start();
        let is_item = start.starts_with("- ")
            || start.starts_with("* ")
            || start
                .split_once(". ")
                .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if start.is_empty() || is_item {
            parts.push(String::new());
        }
        let part = parts.last_mut().expect("a part");
        *part += line;
        part.push('\n');
    }
    parts.retain(|part| !part.trim().is_empty() && !part.trim_start().starts_with(['|', '#', '[', '!']));
    parts
}

fn sentences(part: &str) -> Vec<String> {
    let mut sentences = vec![Vec::new()];
    for word in part.split_whitespace() {
        let last = sentences.last_mut().expect("a sentence");
        let ended = last.last().is_some_and(|word: &&str| word.ends_with(['.', '!', '?', ':', ';']));
        let begins = word.starts_with(|letter: char| letter.is_ascii_uppercase() || "`*\"(".contains(letter));
        if ended && begins {
            sentences.push(vec![word]);
        } else {
            last.push(word);
        }
    }
    let is_drawn = |sentence: &String| sentence.contains(['|', '│']);
    let sentences = sentences.iter().filter(|words| words.len() > 2).map(|words| words.join(" "));
    sentences.filter(|sentence| !is_drawn(sentence)).collect()
}

/// The comments of a source outside its tests, each block as a text.
fn comments(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut blocks = vec![String::new()];
    for line in source.lines() {
        match line.trim_start().strip_prefix("//") {
            Some(comment) => {
                let comment = comment.strip_prefix(['/', '!']).unwrap_or(comment);
                let block = blocks.last_mut().expect("a block");
                *block += comment.strip_prefix(' ').unwrap_or(comment);
                block.push('\n');
            }
            None => blocks.push(String::new()),
        }
    }
    blocks
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, ending) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == ending)).collect()
}

/// Fails with all complaints at once.
fn assert_plain(measured: impl Iterator<Item = (String, Measured)>) {
    let complaints = measured.filter_map(|(name, measured)| Some(format!("{name}: {}", measured.complaint()?)));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn waits(name: &str) -> bool {
    NOT_YET.iter().any(|entry| name.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(project()).expect("a file of the project").display().to_string()
}

#[test]
fn pages_are_plain() {
    let mut pages = files(&project().join("docs"), "md");
    let others = ["README.md", "k8s/README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"];
    pages.extend(others.map(|name| project().join(name)));
    assert_plain(pages.iter().filter(|page| !waits(&relative(page))).map(|page| {
        let text = std::fs::read_to_string(page).expect("a page");
        (relative(page), Measured::of(&paragraphs(&text)).with_words_of(&text))
    }));
}

/// Each command with its own description and those of its flags.
fn helps(command: &Command, name: &str) -> Vec<(String, String)> {
    let own = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let flags = command.get_arguments().filter(|flag| !flag.is_global_set() || name == "mysqlset");
    let flags = flags.filter_map(|flag| flag.get_long_help().or(flag.get_help()).map(ToString::to_string));
    let text = own.into_iter().chain(flags).collect::<Vec<_>>().join("\n\n");
    let below = command.get_subcommands().flat_map(|below| helps(below, &format!("{name} {}", below.get_name())));
    [(format!("{name} --help"), text)].into_iter().chain(below).collect()
}

#[test]
fn help_is_plain() {
    let helps = helps(&Cli::command(), "mysqlset");
    assert!(helps.len() > 8, "{} commands", helps.len());
    assert_plain(helps.into_iter().filter(|(name, _)| !waits(name)).map(|(name, text)| {
        let measured = Measured::of(&paragraphs(&text)).with_words_of(&text);
        (name, measured)
    }));
}

#[test]
fn comments_are_plain() {
    let sources: Vec<PathBuf> = ["src", "tests", "fuzz/src", "fuzz/fuzz_targets"]
        .iter()
        .flat_map(|name| files(&project().join(name), "rs"))
        .collect();
    assert_plain(sources.iter().filter(|path| !waits(&relative(path))).map(|path| {
        let comments = comments(&std::fs::read_to_string(path).expect("a source"));
        let paragraphs: Vec<String> = comments.iter().flat_map(|comment| paragraphs(comment)).collect();
        (relative(path), Measured::of(&paragraphs).with_words_of(&comments.join("\n")))
    }));
}

/// Tests the measure itself.
#[test]
fn a_long_a_negative_and_a_foreign_sentence_are_noticed() {
    let repeated = |sentence: &str| Measured::of(&vec![sentence.to_owned(); 30]);
    let plain = "A recipient must prove that it knows the clone secret before a donor sends it data.";
    assert_eq!(repeated(plain).complaint(), None);
    let long = format!("{}, and {}", plain.trim_end_matches('.').repeat(2), plain);
    assert!(repeated(&long).complaint().is_some_and(|why| why.contains("at most 28")));
    let negative = "It does not answer, and never says why nobody can reach it without a name.";
    assert!(repeated(negative).complaint().is_some_and(|why| why.contains("negations")));
    for foreign in ["Whoever\nasks gets it.", "It begins anew.", "The peer is turned away.", "It lost its turn."] {
        assert!(Measured::of(&[]).with_words_of(foreign).complaint().is_some(), "{foreign}");
    }
    assert!(Measured::of(&[]).with_words_of("`start-anew` and\n```\nwhoever\n```\n").complaint().is_none());
}

/// Lines, items, tables, code and links.
#[test]
fn only_running_text_is_measured() {
    let text = "# A heading\n\nOne sentence here. Then\nanother one follows.\n- an item is here\n\n| a | table |\n\n```sh\ncode\n```\n\n1. See [the link](https://example.org/a b) there.\n";
    let said: Vec<String> = paragraphs(text).iter().flat_map(|part| sentences(part)).collect();
    let expected = ["One sentence here.", "Then another one follows.", "- an item is here", "See [the link] there."];
    assert_eq!(said, expected);
}
