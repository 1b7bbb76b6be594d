//! The patches, and docs/guarantees.md, fit the sources as they are.

use std::fs;

use mutations::{guarantees, patch, root, tree};

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}\n", faults.len(), faults.join("\n"));
}

fn guarantees() -> String {
    fs::read_to_string(root().join("docs/guarantees.md")).unwrap()
}

#[test]
fn every_patch_names_a_promise_and_a_test() {
    let promises = guarantees::promises(&guarantees());
    let patches = patch::read_all(&root()).unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
    let unknown = patches.iter().filter(|patch| !promises.contains(&patch.promise));
    none(
        &unknown
            .map(|patch| {
                format!("{}.patch: no row of docs/guarantees.md promises `{}`", patch.name, patch.promise)
            })
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_patch_applies() {
    let root = root();
    if tree::tracked(&root).is_none() {
        println!("skipped: the sources are not a git checkout");
        return;
    }
    let patches = patch::read_all(&root).unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
    assert!(!patches.is_empty());
    let fault = |patch: &patch::Patch| {
        tree::check(&root, &patch.file).err().map(|fault| format!("{}.patch: {fault}", patch.name))
    };
    none(&patches.iter().filter_map(fault).collect::<Vec<_>>());
}

#[test]
fn every_patch_that_the_simulation_has_to_notice_applies() {
    let root = root();
    if tree::tracked(&root).is_none() {
        println!("skipped: the sources are not a git checkout");
        return;
    }
    let names = fs::read_to_string(root.join("simulation/broken.txt")).unwrap();
    let names = names.lines().filter(|name| !name.is_empty() && !name.starts_with('#'));
    let fault = |name: &str| {
        let places = ["simulation/patches", "tests/mutations/patches"];
        let mut places = places.iter().map(|folder| root.join(folder).join(format!("{name}.patch")));
        let Some(place) = places.find(|place| place.exists()) else {
            return Some(format!("simulation/broken.txt: no patch `{name}`"));
        };
        tree::check(&root, &place).err().map(|fault| format!("{name}.patch: {fault}"))
    };
    none(&names.filter_map(fault).collect::<Vec<_>>());
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let (root, names) = (root(), guarantees::tests(&guarantees()));
    assert!(names.len() > 40, "{} names", names.len());
    none(&names.into_iter().filter(|name| !guarantees::exists(&root, name)).collect::<Vec<_>>());
}
