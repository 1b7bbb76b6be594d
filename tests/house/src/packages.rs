//! What is published: the metadata of packages, the compilers that their dependencies need, the systems that
//! their code distinguishes, and the files in them.
//!
//! The metadata is what `cargo metadata` answers.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use serde_json::Value;

use crate::Sources;

/// The packages of the workspace that are published.
#[must_use]
pub fn published(metadata: &Value) -> Vec<&Value> {
    let members: BTreeSet<_> =
        list(&metadata["workspace_members"]).iter().filter_map(Value::as_str).collect();
    let packages = list(&metadata["packages"]).iter();
    packages
        .filter(|package| members.contains(text(&package["id"])) && package["publish"].is_null())
        .collect()
}

/// Checks that the published packages have the metadata that a registry shows.
#[must_use]
pub fn incomplete(metadata: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in published(metadata) {
        let name = text(&package["name"]);
        for field in ["description", "documentation", "license", "readme", "rust_version"] {
            if text(&package[field]).is_empty() {
                complaints.push(format!("{name}: Cargo.toml has no `{}`", field.replace('_', "-")));
            }
        }
        // What a registry accepts.
        for field in ["keywords", "categories"] {
            if !(1..=5).contains(&list(&package[field]).len()) {
                complaints.push(format!("{name}: Cargo.toml needs one to five `{field}`"));
            }
        }
        if package["metadata"]["docs"]["rs"]["all-features"] != true && !package["features"].is_null() {
            let has_features = package["features"].as_object().is_some_and(|features| !features.is_empty());
            if has_features {
                complaints.push(format!("{name}: docs.rs does not show its features; set `all-features`"));
            }
        }
    }
    complaints
}

/// Checks that no dependency of a published package needs a newer compiler than the package says.
#[must_use]
pub fn too_new(metadata: &Value) -> Vec<String> {
    let packages: BTreeMap<_, _> =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<_, _> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let mut complaints = Vec::new();
    for package in published(metadata) {
        let ours = version(&package["rust_version"]);
        let mut found = BTreeSet::new();
        let mut next = vec![text(&package["id"])];
        while let Some(id) = next.pop() {
            if !found.insert(id) {
                continue;
            }
            for dependency in nodes.get(id).into_iter().flat_map(|node| list(&node["deps"])) {
                // The kind of a normal dependency is null.
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev") {
                    next.push(text(&dependency["pkg"]));
                }
            }
        }
        let newer = found.into_iter().filter_map(|id| packages.get(id)).filter(|package| {
            let theirs = &package["rust_version"];
            theirs.is_string() && version(theirs) > ours
        });
        complaints.extend(newer.map(|dependency| {
            format!(
                "{}: {} {} needs Rust {}; raise `rust-version`, or lock an older version",
                text(&package["name"]),
                text(&dependency["name"]),
                text(&dependency["version"]),
                text(&dependency["rust_version"])
            )
        }));
    }
    complaints
}

/// The dependencies of published packages that only some systems have: package, dependency, condition.
#[must_use]
pub fn on_some_systems(metadata: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for package in published(metadata) {
        for dependency in list(&package["dependencies"]) {
            if let (Some(target), false) = (dependency["target"].as_str(), dependency["kind"] == "dev") {
                let name = text(&dependency["name"]).to_owned();
                found.push((text(&package["name"]).to_owned(), name, target.to_owned()));
            }
        }
    }
    found
}

/// Words that stand in code only where systems are distinguished, or for what not every system has.
const OF_SYSTEMS: [&str; 12] = [
    "unix",
    "windows",
    "wasi",
    "linux",
    "target_os",
    "target_family",
    "target_arch",
    "target_env",
    "target_vendor",
    "target_pointer_width",
    "libc",
    "rustix",
];

/// The places, as `clock.rs:44`, at which code distinguishes systems.
///
/// # Errors
/// A file that does not parse.
pub fn places_of_systems(sources: &Sources) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for (file, source) in sources {
        let tokens: TokenStream = source.parse().map_err(|error| format!("{file}: {error}"))?;
        let mut lines = BTreeSet::new();
        system_words(tokens, &mut lines);
        found.extend(lines.into_iter().map(|line| format!("{file}:{line}")));
    }
    Ok(found)
}

fn system_words(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => system_words(group.stream(), lines),
            TokenTree::Ident(word) if OF_SYSTEMS.iter().any(|of| word == of) => {
                lines.insert(word.span().start().line);
            }
            _ => {}
        }
    }
}

/// Checks the files of a package, as `cargo package --list` names them. `root` is the first file of its code.
#[must_use]
pub fn files(package: &str, root: &str, listed: &str) -> Vec<String> {
    let files: BTreeSet<_> = listed.lines().map(|line| line.replace('\\', "/")).collect();
    let needed = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", root];
    let missing = needed.iter().filter(|file| !files.contains(**file));
    let made_by_cargo = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml.orig"];
    let is_expected = |file: &&String| {
        needed.contains(&file.as_str())
            || made_by_cargo.contains(&file.as_str())
            || ["src/", "docs/", "examples/"].iter().any(|folder| file.starts_with(folder))
            || *file == "CHANGELOG.md"
            || *file == "attribute.md"
    };
    let missing = missing.map(|file| format!("{package}: the package has no {file}"));
    let unexpected = files.iter().filter(|file| !is_expected(file));
    let unexpected =
        unexpected.map(|file| format!("{package}: {file} is published; leave it out by `include`"));
    missing.chain(unexpected).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `1.89` and `1.89.0` are equal.
fn version(value: &Value) -> [u32; 3] {
    let mut parts = text(value).split('.').map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::planted;

    /// `ours` depends on `a`, which depends on `b`, and on `c` in its tests.
    fn metadata() -> Value {
        let dependency = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        json!({
            "workspace_members": ["ours", "private"],
            "packages": [
                {
                    "id": "ours", "name": "ours", "rust_version": "1.80", "description": "a", "license": "MIT",
                    "documentation": "https://docs.rs/ours", "readme": "README.md", "keywords": ["a"],
                    "categories": ["a"], "features": { "a": [] },
                    "metadata": { "docs": { "rs": { "all-features": true } } },
                    "dependencies": [
                        { "name": "a", "target": "cfg(unix)", "kind": null },
                        { "name": "c", "target": "cfg(unix)", "kind": "dev" },
                    ],
                },
                { "id": "private", "name": "private", "publish": [] },
                { "id": "a", "name": "a", "version": "1.0.0", "rust_version": "1.80.0" },
                { "id": "b", "name": "b", "version": "1.0.0", "rust_version": "1.81" },
                { "id": "c", "name": "c", "version": "1.0.0", "rust_version": "1.82" },
            ],
            "resolve": { "nodes": [
                { "id": "ours", "deps": [dependency("a", Value::Null), dependency("c", json!("dev"))] },
                { "id": "a", "deps": [dependency("b", json!("build"))] },
            ] },
        })
    }

    #[test]
    fn a_dependency_that_needs_a_newer_compiler_is_found() {
        let mut metadata = metadata();
        assert_eq!(
            too_new(&metadata),
            ["ours: b 1.0.0 needs Rust 1.81; raise `rust-version`, or lock an older version"]
        );
        metadata["packages"][0]["rust_version"] = json!("1.81");
        assert_eq!(too_new(&metadata), [""; 0]);
    }

    #[test]
    fn metadata_that_is_missing_is_found() {
        let mut metadata = metadata();
        assert_eq!(incomplete(&metadata), [""; 0]);
        metadata["packages"][0]["readme"] = Value::Null;
        metadata["packages"][0]["keywords"] = json!([]);
        metadata["packages"][0]["metadata"] = Value::Null;
        assert_eq!(
            incomplete(&metadata),
            [
                "ours: Cargo.toml has no `readme`",
                "ours: Cargo.toml needs one to five `keywords`",
                "ours: docs.rs does not show its features; set `all-features`"
            ]
        );
    }

    #[test]
    fn what_only_some_systems_have_is_found() {
        assert_eq!(
            on_some_systems(&metadata()),
            [("ours".to_owned(), "a".to_owned(), "cfg(unix)".to_owned())]
        );
        let sources = planted(&[
            ("a.rs", "fn f() {\n    if cfg!(target_os = \"linux\") {}\n}\nuse std::os::unix::net;"),
            ("b.rs", "/// On unix.\nfn g() { \"windows\"; }"),
        ]);
        assert_eq!(places_of_systems(&sources).unwrap(), ["a.rs:2", "a.rs:4"]);
    }

    #[test]
    fn files_that_are_missing_or_too_many_are_found() {
        let listed = "Cargo.toml\nCargo.toml.orig\nLICENSE-MIT\nREADME.md\nsrc/lib.rs\ntests/a.rs";
        assert_eq!(
            files("ours", "src/lib.rs", listed),
            [
                "ours: the package has no LICENSE-APACHE",
                "ours: tests/a.rs is published; leave it out by `include`"
            ]
        );
    }
}
