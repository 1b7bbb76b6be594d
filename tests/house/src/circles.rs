//! The files of a room, none of which may use itself through others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::modules::Modules;

/// For each file, the files that it uses, with the line of the first use.
type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// Finds circles among the files of a room.
#[must_use]
pub fn check(modules: &Modules) -> Vec<String> {
    circles(&graph(modules, |file, used| room(file) == room(used)))
}

/// Finds circles among all files of a crate without rooms.
#[must_use]
pub fn check_all(modules: &Modules) -> Vec<String> {
    circles(&graph(modules, |_, _| true))
}

/// For each file the shortest circle that it is in, each circle once.
fn circles(graph: &Graph) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let circles = graph.keys().filter_map(|file| shortest_circle(graph, file));
    let new = circles.filter(|circle| seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>()));
    new.map(|circle| complaint(graph, &circle)).collect()
}

/// Which file uses which. Files of different rooms are left to the order of the rooms.
fn graph(modules: &Modules, counts: impl Fn(&str, &str) -> bool) -> Graph {
    let mut graph = Graph::new();
    for module in modules.iter().filter(|module| module.file != "lib.rs") {
        let uses = graph.entry(module.file.clone()).or_default();
        for path in &module.paths {
            let Some(used) = modules.file_of(module, path) else { continue };
            if used != module.file && counts(&module.file, used) {
                let line = uses.entry(used.to_owned()).or_insert(path.line);
                *line = path.line.min(*line);
            }
        }
    }
    graph
}

/// The room that a file lies in: `store` of `store/redis/mod.rs`.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The files of the shortest way from a file back to itself.
fn shortest_circle(graph: &Graph, file: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([file]);
    while let Some(next) = queue.pop_front() {
        for used in graph.get(next).into_iter().flat_map(BTreeMap::keys) {
            if used == file {
                let mut circle = vec![next.to_owned()];
                let mut at = next;
                while at != file {
                    at = came_from[at];
                    circle.insert(0, at.to_owned());
                }
                return Some(circle);
            }
            if !came_from.contains_key(&**used) {
                came_from.insert(used, next);
                queue.push_back(used);
            }
        }
    }
    None
}

fn complaint(graph: &Graph, circle: &[String]) -> String {
    let uses = circle.iter().zip(circle.iter().cycle().skip(1));
    let steps: Vec<_> =
        uses.skip(1).map(|(file, used)| format!("{file}:{} uses {used}", graph[file][used])).collect();
    let (file, used) = (&circle[0], &circle[1]);
    format!(
        "{file}:{} uses {used}, which is a circle: {}; move what they share into a file below them",
        graph[file][used],
        steps.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sources, planted};

    const CLEAN: [(&str, &str); 6] = [
        ("lib.rs", "mod key; mod store; pub use store::Store;"),
        ("key.rs", "pub struct Key;"),
        (
            "store/mod.rs",
            "mod contract;\nmod memory;\nmod quorum;\npub use contract::Store;\npub use memory::Memory;",
        ),
        ("store/contract.rs", "pub trait Store { fn get(&self, key: crate::key::Key); }"),
        // By the re-export of its own mod.rs, which defines nothing of it.
        ("store/memory.rs", "use super::Store;\npub struct Memory;"),
        ("store/quorum.rs", "use super::{Store, memory::Memory};\n#[cfg(test)]\nmod tests { use super::*; }"),
    ];

    fn with(file: &str, text: &str) -> Sources {
        let mut sources = planted(&CLEAN);
        sources.insert(file.to_owned(), text.to_owned());
        sources
    }

    fn complaints(sources: &Sources) -> Vec<String> {
        check(&Modules::read(sources).unwrap())
    }

    #[test]
    fn files_in_an_order_are_fine() {
        let none: [&str; 0] = [];
        assert_eq!(complaints(&planted(&CLEAN)), none);
    }

    #[test]
    fn a_circle_goes_red_when_it_is_put_back() {
        let found = complaints(&with("store/memory.rs", "\nuse super::quorum::Quorum; pub struct Memory;"));
        assert_eq!(
            found,
            [
                "store/memory.rs:2 uses store/quorum.rs, which is a circle: store/quorum.rs:1 uses store/memory.rs; \
              move what they share into a file below them"
            ]
        );
    }

    #[test]
    fn a_circle_goes_red_however_it_is_written() {
        for circle in [
            "use crate::store::quorum;",
            "use super::*; fn f() { m!(super::quorum::x()) }",
            "fn f() -> crate::store::quorum::Quorum { todo!() }",
            "use super::quorum as other; fn f() { other::x() }",
            "#[cfg(test)] mod tests { use super::super::quorum::Quorum; }",
        ] {
            let text = format!("{circle} pub struct Memory;");
            assert!(!complaints(&with("store/memory.rs", &text)).is_empty(), "{circle}");
        }
    }

    #[test]
    fn a_file_does_not_use_the_mod_rs_that_uses_it() {
        let parent = "mod contract;\nmod memory;\nmod quorum;\npub use contract::Store;\npub use memory::Memory;\npub struct Shared;";
        let mut sources = with("store/mod.rs", parent);
        let none: [&str; 0] = [];
        assert_eq!(complaints(&sources), none);
        sources.insert(
            "store/memory.rs".to_owned(),
            "use super::{Shared, Store}; pub struct Memory;".to_owned(),
        );
        assert_eq!(
            complaints(&sources),
            ["store/memory.rs:1 uses store/mod.rs, which is a circle: store/mod.rs:5 uses store/memory.rs; \
              move what they share into a file below them"]
        );
        // A file that mod.rs only declares may use it.
        let parent = "mod contract;\nmod memory;\nmod quorum;\npub use contract::Store;\npub struct Shared;";
        sources.insert("store/mod.rs".to_owned(), parent.to_owned());
        assert_eq!(complaints(&sources), none);
    }

    #[test]
    fn a_circle_of_three_files_is_shown_whole() {
        let mut sources = with("store/contract.rs", "use super::quorum::Q; pub trait Store {}");
        sources.insert("store/memory.rs".to_owned(), "use super::Store; pub struct Memory;".to_owned());
        sources.insert("store/quorum.rs".to_owned(), "use super::memory::Memory;".to_owned());
        let found = complaints(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].matches(" uses ").count(), 3, "{found:?}");
    }
}
