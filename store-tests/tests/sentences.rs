//! What a failed check quotes stands in the documentation of the store trait.

use std::{fs, path::Path};

/// A file's documentation as one text: without comment signs, line breaks, and the targets of links.
fn documentation(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../distlock-core/src").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("///"));
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut rest = &*text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        let (shown, after) = link.split_once(']').unwrap_or((link, ""));
        plain.push_str(shown);
        rest = after
            .strip_prefix('(')
            .and_then(|target| target.split_once(')'))
            .map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// The text of the string literals that begin with a capital letter and are longer than a few words.
fn sentences(source: &str) -> Vec<String> {
    let source = source.replace("\\\n", "\n");
    let literals = source.split('"').skip(1).step_by(2);
    let joined = literals.map(|literal| literal.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.filter(|text| text.starts_with(char::is_uppercase) && text.split(' ').count() > 3).collect()
}

#[test]
fn quoted_sentences_are_those_of_the_trait() {
    let documentation: String =
        ["store/contract.rs", "store/hand_over.rs", "token/mod.rs"].map(documentation).join(" ");
    let mut quoted = 0;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = file.unwrap().path();
        for sentence in sentences(&fs::read_to_string(&path).unwrap()) {
            let known = documentation.contains(&sentence);
            let file = path.display();
            assert!(known, "{file} quotes a sentence that no store trait's documentation has: {sentence}");
            quoted += 1;
        }
    }
    assert!(quoted >= 15, "{quoted} sentences are quoted");
}
