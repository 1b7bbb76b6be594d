//! What docs/guarantees.md promises, and which tests it names.

use std::{fs, path::Path};

/// Returns the promises: the first column of each table that ends in a column `shown by`, without doubles.
#[must_use]
pub fn promises(text: &str) -> Vec<String> {
    let mut promises: Vec<String> = Vec::new();
    for row in rows(text) {
        if !row[0].is_empty() && !promises.iter().any(|promise| promise == row[0]) {
            promises.push(row[0].to_owned());
        }
    }
    promises
}

/// Returns the names of tests: all code in the columns `shown by`.
#[must_use]
pub fn tests(text: &str) -> Vec<String> {
    let column = |row: Vec<&str>| row.last().map(|cell| code(cell)).unwrap_or_default();
    rows(text).into_iter().flat_map(column).collect()
}

/// Returns the names of the tests that show a promise. A row without a promise continues the one above.
#[must_use]
pub fn tests_of(text: &str, promise: &str) -> Vec<String> {
    let (mut current, mut tests) = (String::new(), Vec::new());
    for row in rows(text) {
        if !row[0].is_empty() {
            row[0].clone_into(&mut current);
        }
        if current == promise {
            tests.extend(row.last().map(|cell| code(cell)).unwrap_or_default());
        }
    }
    tests
}

/// The cells of the rows of all tables whose last column is `shown by`.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let (mut found, mut in_table) = (Vec::new(), false);
    for line in text.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            in_table = false;
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        if cells.last() == Some(&"shown by") {
            in_table = true;
        } else if in_table && !cells.iter().all(|cell| cell.starts_with("---")) {
            found.push(cells);
        }
    }
    found
}

/// The code between backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a test, a file of tests or a whole test binary of this name exists: `lease`, `lease::loss` or
/// `lease::loss::a_deleted_key_stops_the_body`. A unit test has its package before it:
/// `package module::test`.
///
/// # Panics
/// If a file of the repository cannot be read.
#[must_use]
pub fn exists(root: &Path, name: &str) -> bool {
    if let Some((package, unit_test)) = name.split_once(' ') {
        let test = unit_test.rsplit("::").next().unwrap_or_default();
        return defines(&root.join(package).join("src"), test);
    }
    let parts: Vec<_> = name.split("::").collect();
    let [target, inner @ ..] = parts.as_slice() else { return false };
    let folders = [
        root.join("tests").join(target),
        root.join("examples").join(target),
        root.join("soak/tests").join(format!("{target}.rs")),
        root.join("tests/crates").join(target).join("tests"),
        root.join("distlock-cli/tests").join(target),
        root.join("tests").join(target.trim_start_matches("protocol-")),
        root.join("tests").join(format!("{target}.rs")),
    ];
    let Some(folder) = folders.into_iter().find(|folder| folder.exists()) else { return false };
    match inner {
        [] => true,
        [test] => {
            let contract = root.join("store-tests/src");
            folder.join(format!("{test}.rs")).exists()
                || defines(&folder, test)
                || (*target == "store_contract" && defines(&contract, test))
        }
        [file, test] => defines(&folder.join(format!("{file}.rs")), test),
        _ => false,
    }
}

/// Whether a file, or one below a folder, defines a function of this name.
fn defines(path: &Path, function: &str) -> bool {
    if path.is_dir() {
        let mut entries = fs::read_dir(path).expect("a folder");
        return entries.any(|entry| defines(&entry.expect("an entry of a folder").path(), function));
    }
    path.extension().is_some_and(|extension| extension == "rs")
        && fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {function}(")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
| other | table |
| --- | --- |
| a | `b` |

| promise | fault | shown by |
| --- | --- | --- |
| It holds | any | `lease::loss`, `lease` |
| | another | `core x::y` |
| It lasts | none | - |
";

    #[test]
    fn promises_and_tests_are_those_of_the_tables_with_tests() {
        assert_eq!(promises(TEXT), ["It holds", "It lasts"]);
        assert_eq!(tests(TEXT), ["lease::loss", "lease", "core x::y"]);
        assert_eq!(tests_of(TEXT, "It holds"), ["lease::loss", "lease", "core x::y"]);
        assert_eq!(tests_of(TEXT, "It lasts"), [""; 0]);
    }

    #[test]
    fn a_name_without_a_test_does_not_exist() {
        let root = crate::root();
        for name in ["lease", "lease::loss", "lease::loss::a_deleted_key_stops_the_body", "protocol-model"] {
            assert!(exists(&root, name), "{name}");
        }
        for name in [
            "least",
            "lease::losses",
            "lease::loss::a_deleted_key",
            "lease::a::b::c",
            "distlock-core no_such_test",
        ] {
            assert!(!exists(&root, name), "{name}");
        }
    }
}
