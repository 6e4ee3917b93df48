//! A program that counts as one test of `cargo test`, beside what it does with options.

/// Whether this run leaves the test out: `cargo test NAME` asks for another one, or `--list` asks for its name only.
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
            // The word behind it names what is skipped.
            "--skip" if words.next().is_some_and(|skipped| test.contains(&skipped)) => return true,
            option if option.starts_with('-') => {}
            _ => names.push(word),
        }
    }
    !names.is_empty() && !names.iter().any(|name| test.contains(name.as_str()))
}
