//! The README and the attribute's rustdoc both have a table of the arguments, and it must be the same table.

const README: &str = include_str!("../../../../README.md");
const RUSTDOC: &str = include_str!("../../../../distlock-macros/attribute.md");

/// The lines of the table whose header begins with `| argument |`.
fn argument_table(document: &str) -> Vec<&str> {
    let from_header = document.lines().skip_while(|line| !line.starts_with("| argument |"));
    from_header.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn readme_and_rustdoc_have_the_same_argument_table() {
    let (readme, rustdoc) = (argument_table(README), argument_table(RUSTDOC));
    assert!(readme.len() > 2, "the README has no table of arguments");
    for (readme, rustdoc) in readme.iter().zip(&rustdoc) {
        assert_eq!(readme, rustdoc);
    }
    assert_eq!(readme.len(), rustdoc.len());
}
