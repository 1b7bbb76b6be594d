//! `docs/public-api.txt` is the public interface of the published crates: no change of it goes unseen.
//!
//! `UPDATE_PUBLIC_API=1 cargo test -p house --test public_api` writes the file anew: read the difference, and
//! decide by it which version comes next.

use std::{collections::BTreeSet, env, fs};

use house::{public_api, read, root};

const FILE: &str = "docs/public-api.txt";
const UPDATE: &str = "UPDATE_PUBLIC_API=1 cargo test -p house --test public_api";

/// The published crates, each with its folder.
const CRATES: [(&str, &str); 4] = [
    ("distlock", ""),
    ("distlock-core", "distlock-core/"),
    ("distlock-macros", "distlock-macros/"),
    ("distlock-store-tests", "store-tests/"),
];

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn listing() -> String {
    let section = |(name, folder): (&str, &str)| {
        let sources = read(&root().join(format!("{folder}src")), "rs");
        let listing = public_api::listing(&text(&format!("{folder}Cargo.toml")), &sources);
        format!("==== {name} ====\n\n{}", listing.unwrap_or_else(|error| panic!("{folder}src/{error}")))
    };
    let head = format!("The public interface of the published crates. Written by\n`{UPDATE}`.\n\n");
    head + &CRATES.map(section).join("\n")
}

/// The lines of one text that the other does not have, as often.
fn missing<'a>(from: &'a str, other: &str, sign: &str) -> Vec<String> {
    let mut left: Vec<_> = other.lines().collect();
    let is_missing = |line: &&'a str| match left.iter().position(|other| other == line) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    };
    from.lines().filter(is_missing).map(|line| format!("{sign} {line}")).collect()
}

#[test]
fn the_public_interface_is_the_listed_one() {
    let now = listing();
    if env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(root().join(FILE), &now).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    }
    let listed = text(FILE);
    let differences = [missing(&listed, &now, "-"), missing(&now, &listed, "+")].concat();
    assert!(
        listed == now,
        "the public interface is not the one in {FILE}. If that is meant, note it in the changelog and run\n\
         {UPDATE}\n\n{}\n",
        differences.join("\n")
    );
}

/// The paths in the first column of the table of foreign types.
fn justified() -> BTreeSet<String> {
    let contributing = text("CONTRIBUTING.md");
    let section = contributing.split("\n## Foreign types in the public interface\n").nth(1);
    let section = section.expect("CONTRIBUTING.md has a section on foreign types");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

#[test]
fn every_foreign_type_in_the_public_interface_is_justified() {
    let (found, justified) = (public_api::foreign_types(&listing()), justified());
    let new: Vec<_> = found.difference(&justified).collect();
    assert!(new.is_empty(), "CONTRIBUTING.md, `Foreign types in the public interface`: add {new:?}");
    let gone: Vec<_> = justified.difference(&found).collect();
    assert!(gone.is_empty(), "CONTRIBUTING.md, `Foreign types in the public interface`: remove {gone:?}");
}

/// The types in the interface that users cannot name, each with what it is for.
const UNNAMED: [(&str, &str); 2] = [
    ("crate::store::redis::connect::Connector", "seals the parameter of `RedisStore`"),
    ("crate::store::redis::connect::single::PerRuntimeConnection", "the one value of that parameter"),
];

#[test]
fn every_type_in_the_public_interface_can_be_named() {
    let mut listing = listing();
    for (path, _) in UNNAMED {
        assert!(listing.contains(path), "{path} is gone: remove it from this test");
        listing = listing.replace(path, "");
    }
    let unnamed: Vec<_> = listing.lines().filter(|line| line.contains("crate::")).collect();
    assert!(unnamed.is_empty(), "export what these lines name, or make it private:\n{}", unnamed.join("\n"));
}
