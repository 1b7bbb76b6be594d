//! The published packages are complete and small, and compile with the compilers and on the systems that they
//! name.

use std::{collections::BTreeSet, fs, process::Command, sync::LazyLock};

use house::{packages, read, root};
use serde_json::Value;

/// The published packages, each with its folder.
const PUBLISHED: [(&str, &str); 4] = [
    ("distlock", "."),
    ("distlock-core", "distlock-core"),
    ("distlock-macros", "distlock-macros"),
    ("distlock-store-tests", "store-tests"),
];

/// The most crates that a program compiles for distlock with its default features.
const CRATES: usize = 74;

/// The one place at which published code distinguishes systems. See [`systems_differ_in_one_place`].
const SYSTEMS: &str = "distlock-core/src/clock.rs";

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", complaints.len(), complaints.join("\n"));
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo answers in UTF-8")
}

static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--all-features"]);
    serde_json::from_str(&metadata).expect("cargo metadata answers in JSON")
});

#[test]
fn every_published_package_has_its_metadata() {
    let found: BTreeSet<_> =
        packages::published(&METADATA).iter().filter_map(|package| package["name"].as_str()).collect();
    assert_eq!(found, PUBLISHED.map(|(name, _)| name).into());
    none(&packages::incomplete(&METADATA));
}

#[test]
fn no_dependency_needs_a_newer_compiler_than_ours() {
    none(&packages::too_new(&METADATA));
}

#[test]
fn every_published_package_has_its_files_and_no_more() {
    for (name, folder) in PUBLISHED {
        none(&packages::files(name, &cargo(&["package", "--list", "--allow-dirty", "-p", name])));
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let text =
                |folder: &str| fs::read_to_string(root().join(folder).join(licence)).expect("a licence");
            assert_eq!(text(folder), text("."), "{name}: {licence} is that of the repository");
        }
    }
}

/// Linux and Android have a clock that counts suspensions, and `Moment` counts them there. Elsewhere it does
/// without. Everything else is the same on every system that tokio supports.
#[test]
fn systems_differ_in_one_place() {
    let mut places = Vec::new();
    for (_, folder) in PUBLISHED {
        let folder = format!("{folder}/src");
        let found = packages::places_of_systems(&read(&root().join(&folder), "rs")).unwrap();
        places.extend(found.into_iter().map(|place| format!("{folder}/{place}")));
    }
    let others: Vec<_> = places.iter().filter(|place| !place.starts_with(SYSTEMS)).cloned().collect();
    none(&others);
    let condition = "any(target_os = \"linux\", target_os = \"android\")";
    let source = fs::read_to_string(root().join(SYSTEMS)).unwrap();
    let count = |text: String| source.matches(&text).count();
    assert_eq!((count(format!("#[cfg({condition})]")), count(format!("#[cfg(not({condition}))]"))), (1, 1));
    // The two conditions, the import below the first, and no more.
    assert_eq!(places.len(), 3, "{places:?}");
    let dependency = ("distlock-core".to_owned(), "rustix".to_owned(), format!("cfg({condition})"));
    assert_eq!(packages::on_some_systems(&METADATA), [dependency]);
}

#[test]
fn a_program_compiles_few_crates_for_distlock() {
    // The same on every system, whose standard library need not be there.
    let system = "x86_64-unknown-linux-gnu";
    let tree = ["tree", "--locked", "-p", "distlock", "-e", "normal,build", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}", "--target", system]].concat());
    let crates: BTreeSet<_> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    assert!(
        crates.len() <= CRATES,
        "{} crates, and {CRATES} before; is the new one worth its compile time?\n{crates:#?}",
        crates.len()
    );
}
