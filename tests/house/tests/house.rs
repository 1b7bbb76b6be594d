//! The house is in order: the checks of this crate, over the repository.

use std::{collections::BTreeMap, fs, process::Command};

use house::{Sources, arrows, circles, map, modules::Modules, read, root, scripts, sizes, words};

const CORE: &str = "distlock-core/src";

#[track_caller]
fn none(folder: &str, complaints: &[String]) {
    let lines: Vec<_> = complaints.iter().map(|complaint| format!("{folder}{complaint}")).collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", lines.len(), lines.join("\n"));
}

fn core() -> Sources {
    read(&root().join(CORE), "rs")
}

/// Also when the map is missing, which is a complaint of its own.
fn order(core: &Sources) -> Vec<(String, usize)> {
    map::of_lib(&core["lib.rs"]).unwrap_or_else(|missing| panic!("{CORE}/{missing}"))
}

#[test]
fn every_room_uses_only_those_below_it() {
    let core = core();
    let modules = Modules::read(&core).unwrap();
    none("distlock-core/src/", &arrows::check(&modules, &order(&core)));
}

#[test]
fn the_map_for_contributors_is_that_of_the_core() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let theirs = map::of_contributing(&text).unwrap_or_else(|missing| panic!("{missing}"));
    none("", &map::differences(&order(&core()), &theirs));
}

#[test]
fn the_files_of_a_room_use_each_other_in_no_circle() {
    none("distlock-core/src/", &circles::check(&Modules::read(&core()).unwrap()));
}

#[test]
fn the_files_of_the_macros_use_each_other_in_no_circle() {
    let modules = Modules::read(&read(&root().join("distlock-macros/src"), "rs")).unwrap();
    none("distlock-macros/src/", &circles::check_all(&modules));
}

#[test]
fn no_item_is_defined_with_a_word_that_was_replaced() {
    none("distlock-core/src/", &words::check(&core()).unwrap());
}

/// The files that git tracks, with the given ending.
fn tracked(ending: &str) -> BTreeMap<String, String> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z", "--", ending]).output();
    let listed = listed.expect("git lists the repository's files");
    assert!(listed.status.success(), "git lists the files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    let names: Vec<_> = names.split('\0').filter(|name| !name.is_empty()).collect();
    assert!(!names.is_empty(), "git tracks files that end in {ending}");
    // One that is removed and not yet committed has no text.
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?));
    names.into_iter().filter_map(read).collect()
}

#[test]
fn no_file_is_too_long() {
    let rust = tracked("*.rs");
    none("", &rust.iter().filter_map(|(file, source)| sizes::check_length(file, source)).collect::<Vec<_>>());
}

#[test]
fn no_comment_is_wider_than_code() {
    let (rust, lua) = (tracked("*.rs"), tracked("*.lua"));
    let rust = rust.iter().flat_map(|(file, source)| sizes::check_rust(file, source));
    let lua = lua.iter().flat_map(|(file, source)| sizes::check_lua(file, source));
    none("", &rust.chain(lua).collect::<Vec<_>>());
}

#[test]
fn scripts_use_declared_keys_and_say_what_they_answer() {
    let scripts = read(&root().join(CORE).join("store/redis/lua"), "lua");
    let complaints: Vec<_> = scripts.iter().flat_map(|(file, source)| scripts::check(file, source)).collect();
    none("distlock-core/src/store/redis/lua/", &complaints);
}
