//! A program that counts as one test of `cargo test`, beside what it does with options.

/// Whether this run leaves the test out: `cargo test NAME` asks for another one, or `--list` asks for its name only.
pub fn is_filtered_out(test: &str) -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with('-'));
    if options.iter().any(|option| *option == "--list") {
        println!("{test}: test");
        return true;
    }
    !names.is_empty() && !names.iter().any(|name| test.contains(name.as_str()))
}
