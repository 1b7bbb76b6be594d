//! The attribute's page in rustdoc.

const FACADE: &str = include_str!("../../src/lib.rs");
const ARGUMENTS: &str = include_str!("../../distlock-macros/attribute.md");

/// The most columns of code that rustdoc shows without a scroll bar.
const WIDTH: usize = 80;

/// The documentation of the attribute's re-export. rustdoc shows it before that of the macro itself.
fn page() -> Vec<&'static str> {
    let before = FACADE.split("pub use distlock_macros::distributed_lock;").next().unwrap();
    let mut page: Vec<_> = before.lines().rev().map_while(|line| line.strip_prefix("///")).collect();
    page.reverse();
    page.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
}

#[test]
fn the_page_begins_with_a_sentence_then_an_example_then_the_table() {
    let page = page();
    let sentence: Vec<_> = page.iter().take_while(|line| !line.is_empty()).copied().collect();
    let sentence = sentence.join(" ");
    assert!(sentence.starts_with("Runs an async function") && sentence.ends_with('.'), "{sentence}");
    assert_eq!(page[page.iter().position(|line| line.is_empty()).unwrap() + 1], "```");
    assert_eq!(page.last(), Some(&"```"));
    assert!(ARGUMENTS.starts_with("# Arguments\n\n| argument |"));
}

#[test]
fn the_example_is_no_wider_than_the_page() {
    let page = page();
    let example = page.iter().skip_while(|line| **line != "```");
    for line in example.filter(|line| !line.starts_with("# ")) {
        assert!(line.len() <= WIDTH, "{line}");
    }
}
