//! A program that counts as one test of `cargo test`, and also has options of its own.

/// Whether this run skips the test: `cargo test NAME` asks for another one, or `--list` asks for its name only.
pub fn is_filtered_out(test: &str) -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        println!("{test}: test");
        return true;
    }
    let mut names = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            // The next word names the tests to skip.
            "--skip" if words.next().is_some_and(|skipped| test.contains(&skipped)) => return true,
            option if option.starts_with('-') => {}
            _ => names.push(word),
        }
    }
    !names.is_empty() && !names.iter().any(|name| test.contains(name.as_str()))
}
