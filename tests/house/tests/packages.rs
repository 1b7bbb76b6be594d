//! The published packages are complete and small, and compile with the compilers and on the systems that they
//! name.

use std::{collections::BTreeSet, fs, process::Command, sync::LazyLock};

use house::{packages, read, root};
use serde_json::Value;

/// The published packages, each with its folder.
const PUBLISHED: [(&str, &str); 5] = [
    ("distlock", "."),
    ("distlock-cli", "distlock-cli"),
    ("distlock-core", "distlock-core"),
    ("distlock-macros", "distlock-macros"),
    ("distlock-store-tests", "store-tests"),
];

/// The most crates that a program compiles for distlock with its default features.
const CRATES: usize = 74;

/// The one place at which the library distinguishes systems. See [`systems_differ_in_one_place`].
const SYSTEMS: &str = "distlock-core/src/clock.rs";

/// The command `distlock run` sends signals and makes process groups, which only Unix has. On Linux and
/// Android the kernel ends the command that it runs together with it.
const SYSTEMS_OF_THE_COMMAND: [&str; 2] = ["distlock-cli/src/main.rs", "distlock-cli/src/run/"];

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
        let code = if name == "distlock-cli" { "src/main.rs" } else { "src/lib.rs" };
        none(&packages::files(name, code, &cargo(&["package", "--list", "--allow-dirty", "-p", name])));
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
    places.retain(|place| !SYSTEMS_OF_THE_COMMAND.iter().any(|known| place.starts_with(known)));
    let others: Vec<_> = places.iter().filter(|place| !place.starts_with(SYSTEMS)).cloned().collect();
    none(&others);
    let condition = "any(target_os = \"linux\", target_os = \"android\")";
    let source = fs::read_to_string(root().join(SYSTEMS)).unwrap();
    let count = |text: String| source.matches(&text).count();
    assert_eq!((count(format!("#[cfg({condition})]")), count(format!("#[cfg(not({condition}))]"))), (1, 1));
    // The two conditions, the import below the first, and no more.
    assert_eq!(places.len(), 3, "{places:?}");
    let found = packages::on_some_systems(&METADATA);
    let found: Vec<_> =
        found.iter().map(|(package, name, target)| (&**package, &**name, &**target)).collect();
    let linux = format!("cfg({condition})");
    let expected = [
        ("distlock-cli", "nix", "cfg(unix)"),
        ("distlock-cli", "rustix", "cfg(unix)"),
        ("distlock-core", "rustix", &*linux),
    ];
    assert_eq!(found, expected);
}

/// The crates that a program compiles for a package, each as `name version`.
fn compiled_for(package: &str, more: &[&str]) -> BTreeSet<String> {
    // The same on every system, whose standard library need not be there.
    let system = "x86_64-unknown-linux-gnu";
    let tree = ["tree", "--locked", "-p", package, "-e", "normal,build", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}", "--target", system], more].concat());
    tree.lines().filter_map(|line| Some(line.split(" (").next()?.replace(" v", " "))).collect()
}

#[test]
fn a_program_compiles_few_crates_for_distlock() {
    let crates = compiled_for("distlock", &[]);
    assert!(
        crates.len() <= CRATES,
        "{} crates, and {CRATES} before; is the new one worth its compile time?\n{crates:#?}",
        crates.len()
    );
}

/// What a program compiles for the library with all features is what the library's own dependencies need.
#[test]
fn a_program_compiles_nothing_of_the_command_for_distlock() {
    let of_library = compiled_for("distlock", &["--all-features"]);
    let of_command = compiled_for("distlock-cli", &[]);
    for name in ["distlock-cli", "clap", "crossterm", "nix", "ratatui"] {
        let is_named = |found: &&String| found.split(' ').next() == Some(name);
        assert!(of_command.iter().any(|found| is_named(&found)), "{name}: {of_command:#?}");
        assert_eq!(of_library.iter().find(is_named), None);
    }
    let members = cargo(&["metadata", "--format-version", "1", "--locked", "--no-deps"]);
    let members: Value = serde_json::from_str(&members).expect("cargo metadata answers in JSON");
    let default = members["workspace_default_members"].to_string();
    assert!(default.contains("distlock-core") && !default.contains("distlock-cli"), "{default}");
}
