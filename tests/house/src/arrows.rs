//! Rooms: the top-level modules of a crate, each of which uses only those below it.

use std::collections::BTreeMap;

use crate::{map::IN_LIB, modules::Modules};

/// Checks that the map has every room and no other, and that no room uses one above it.
#[must_use]
pub fn check(modules: &Modules, map: &[(String, usize)]) -> Vec<String> {
    let mut complaints = unlisted(modules, map);
    let rank: BTreeMap<_, _> = map.iter().enumerate().map(|(rank, (room, _))| (room, rank)).collect();
    // What is in lib.rs itself is above all rooms.
    for module in modules.iter().filter(|module| module.file != "lib.rs") {
        let Some(own) = rank.get(&module.path[0]) else { continue };
        // A name that was imported is complained about where it is imported.
        let outward = |first: &str| matches!(first, "crate" | "super" | "self");
        for path in module.paths.iter().filter(|path| outward(&path.segments[0])) {
            let Some(absolute) = modules.absolute(module, &path.segments) else { continue };
            let (file, line, written) = (&module.file, path.line, path.segments.join("::"));
            let Some(room) = absolute.first() else { continue };
            match rank.get(room) {
                Some(used) if used >= own => {}
                Some(_) => complaints.push(format!(
                    "{file}:{line}: `{written}` is an arrow up, from `{}` to `{room}`; move what both need into a \
                     room below both",
                    module.path[0]
                )),
                None => complaints.push(format!(
                    "{file}:{line}: `{written}` is an arrow up, to lib.rs; name the room that defines it"
                )),
            }
        }
    }
    complaints
}

/// Rooms that the map lacks, and names in it that are not rooms.
fn unlisted(modules: &Modules, map: &[(String, usize)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(root) = modules.iter().next() else { return complaints };
    for (room, line) in &root.file_modules {
        if !map.iter().any(|(listed, _)| listed == room) {
            complaints.push(format!("lib.rs:{line}: list `{room}` under `{IN_LIB}`, above all that it uses"));
        }
    }
    for (at, (room, line)) in map.iter().enumerate() {
        if !root.file_modules.contains_key(room) {
            complaints.push(format!("lib.rs:{line}: there is no `mod {room}`; take it off the map"));
        } else if map[..at].iter().any(|(before, _)| before == room) {
            complaints.push(format!("lib.rs:{line}: the map has `{room}` twice; take one off"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    const MAP: [&str; 3] = ["request", "store", "key"];

    fn complaints(store: &str) -> Vec<String> {
        let sources = planted(&[
            ("lib.rs", "mod key; mod request; mod store; pub use request::Request;"),
            ("request.rs", "use crate::{key::Key, store::{Store, memory}};"),
            ("store/mod.rs", "pub mod memory; pub trait Store { fn get(&self, key: crate::key::Key); }"),
            ("store/memory.rs", store),
            ("key.rs", "pub struct Key;"),
        ]);
        let map: Vec<_> = MAP.iter().map(|room| ((*room).to_owned(), 7)).collect();
        check(&Modules::read(&sources).unwrap(), &map)
    }

    #[test]
    fn rooms_that_use_what_is_below_them_are_fine() {
        let none: [&str; 0] = [];
        assert_eq!(complaints("use super::{super::key::Key, Store};\n// crate::request::Request"), none);
    }

    #[test]
    fn an_arrow_up_goes_red_however_it_is_written() {
        for up in [
            "use crate::request::Request;",
            "use crate::{key::Key, request::{self, Request}};",
            "use super::{super::request::Request, Store};",
            "fn f() -> super::super::request::Request { todo!() }",
            "fn f() { g!(a, [crate::request::Request::new()]) }",
            "macro_rules! m { () => { $crate::request::Request } }",
            "mod tests { use super::super::super::request; }",
            "#[cfg(test)] mod tests { fn f(x: crate::request::Request) {} }",
        ] {
            let found = complaints(&format!("\n{up}"));
            assert!(!found.is_empty(), "{up}");
            assert!(found[0].starts_with("store/memory.rs:2: `"), "{found:?}");
            assert!(found[0].contains("is an arrow up, from `store` to `request`; move"), "{found:?}");
        }
    }

    #[test]
    fn the_root_is_above_all_rooms() {
        let found = complaints("use crate::Request;");
        assert_eq!(
            found,
            ["store/memory.rs:1: `crate::Request` is an arrow up, to lib.rs; name the room that defines it"]
        );
    }

    #[test]
    fn a_map_that_lacks_a_room_or_has_one_too_many_goes_red() {
        let sources = planted(&[("lib.rs", "mod a;\nmod b;"), ("a.rs", ""), ("b.rs", "")]);
        let map = ["a", "c", "a"].map(|room| (room.to_owned(), 3));
        let found = check(&Modules::read(&sources).unwrap(), &map);
        assert_eq!(
            found,
            [
                "lib.rs:2: list `b` under `# The rooms, in reading order`, above all that it uses",
                "lib.rs:3: there is no `mod c`; take it off the map",
                "lib.rs:3: the map has `a` twice; take one off"
            ]
        );
    }
}
