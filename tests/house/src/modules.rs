//! A crate's modules, and what a path means in one of them.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::{Item, UseTree};

use crate::{
    Sources,
    paths::{WrittenPath, paths},
};

/// The module of a file, or one that is written inside of another.
#[derive(Debug, Default)]
pub struct Module {
    /// `store`, `redis` for `crate::store::redis`; empty for the crate's root.
    pub path: Vec<String>,
    /// The file's path from `src`.
    pub file: String,
    /// The names of the modules in it that lie in files of their own, with the line of each `mod`.
    pub file_modules: BTreeMap<String, usize>,
    /// The paths in its code, without those of modules inside of it.
    pub paths: Vec<WrittenPath>,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    imports: Vec<WrittenPath>,
}

/// How many imports a name is followed through.
const MOST_IMPORTS: usize = 20;

/// All modules of a crate, the root first.
#[derive(Debug)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// Reads a crate from its `lib.rs` on.
    ///
    /// # Errors
    /// A file that is missing, that no `mod` names, or that does not parse.
    pub fn read(sources: &Sources) -> Result<Self, String> {
        let mut modules = Self(Vec::new());
        modules.file(sources, &[], "lib.rs")?;
        let unknown = sources.keys().find(|file| !modules.0.iter().any(|module| module.file == **file));
        match unknown {
            Some(file) => Err(format!("{file}: no `mod` names this file; add one, or remove the file")),
            None => Ok(modules),
        }
    }

    /// The modules.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.iter()
    }

    /// The file in which a path's target is defined; `None` for other crates and local names.
    ///
    /// A name that a module has by `use` or `pub use` belongs to the file from which it comes.
    #[must_use]
    pub fn file_of(&self, module: &Module, path: &WrittenPath) -> Option<&str> {
        let absolute = self.absolute(module, &path.segments)?;
        Some(&self.target(&absolute, 0)?.file)
    }

    /// The path from the crate's root; `None` for other crates and local names.
    #[must_use]
    pub fn absolute(&self, module: &Module, segments: &[String]) -> Option<Vec<String>> {
        self.absolute_within(module, segments, MOST_IMPORTS)
    }

    /// What an import names: a module may stand alone there, which in code would be a variable.
    fn import_target(&self, module: &Module, import: &WrittenPath, left: usize) -> Option<Vec<String>> {
        match &*without_self(import) {
            [name] if module.children.contains(name) => {
                Some(module.path.iter().chain([name]).cloned().collect())
            }
            segments => self.absolute_within(module, segments, left),
        }
    }

    fn absolute_within(&self, module: &Module, segments: &[String], left: usize) -> Option<Vec<String>> {
        let mut base = module.path.clone();
        let mut rest = segments;
        match &*segments[0] {
            "crate" => (base, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            name if module.children.contains(name) && segments.len() > 1 => {}
            name if segments.len() > 1 => {
                let import = module.imports.iter().find(|import| {
                    // Not itself: `use redis::x` in a crate that has a module `redis` elsewhere.
                    name_of(import) == Some(name) && import.segments != segments
                })?;
                let mut target = self.import_target(module, import, left.checked_sub(1)?)?;
                target.extend_from_slice(&segments[1..]);
                return Some(target);
            }
            _ => return None,
        }
        while let Some((first, after)) = rest.split_first()
            && first == "super"
        {
            base.pop()?;
            rest = after;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn target(&self, absolute: &[String], depth: usize) -> Option<&Module> {
        let mut module = self.0.first()?;
        let mut rest = absolute;
        while let Some((first, after)) = rest.split_first()
            && module.children.contains(first)
        {
            let path: Vec<_> = module.path.iter().chain([first]).cloned().collect();
            module = self.0.iter().find(|module| module.path == path)?;
            rest = after;
        }
        let Some(name) = rest.first() else { return Some(module) };
        if module.defined.contains(name) || depth > MOST_IMPORTS {
            return Some(module);
        }
        let follow = |import: &WrittenPath, rest: &[String]| {
            let mut path = self.import_target(module, import, MOST_IMPORTS)?;
            path.extend_from_slice(rest);
            self.target(&path, depth + 1)
        };
        if let Some(import) = module.imports.iter().find(|import| name_of(import) == Some(name)) {
            // `None` if it comes from another crate.
            return follow(import, &rest[1..]);
        }
        let globs = module.imports.iter().filter(|import| import.segments.ends_with(&["*".to_owned()]));
        for glob in globs.filter(|_| name != "*") {
            let from =
                WrittenPath { segments: glob.segments[..glob.segments.len() - 1].to_vec(), ..glob.clone() };
            let target = if from.segments.is_empty() { None } else { follow(&from, rest) };
            if target.is_some_and(|target| target.defined.contains(name)) {
                return target;
            }
        }
        Some(module)
    }

    fn file(&mut self, sources: &Sources, path: &[String], file: &str) -> Result<(), String> {
        let source = sources.get(file).ok_or_else(|| format!("{file}: the file is missing"))?;
        let parsed = syn::parse_file(source)
            .map_err(|error| format!("{file}:{}: {error}", error.span().start().line))?;
        self.module(sources, path, file, &parsed.items)
    }

    fn module(
        &mut self,
        sources: &Sources,
        path: &[String],
        file: &str,
        items: &[Item],
    ) -> Result<(), String> {
        let mut module = Module { path: path.to_vec(), file: file.to_owned(), ..Module::default() };
        for item in items {
            if let Item::Mod(item) = item {
                module.children.insert(item.ident.to_string());
                if item.content.is_none() {
                    module.file_modules.insert(item.ident.to_string(), item.ident.span().start().line);
                }
                continue;
            }
            module.defined.extend(defined(item));
            module.paths.extend(paths(item.to_token_stream()));
            if let Item::Use(item) = item
                && !is_anonymous(&item.tree)
            {
                module.imports.extend(paths(item.tree.to_token_stream()));
            }
        }
        self.0.push(module);
        let modules =
            items.iter().filter_map(|item| if let Item::Mod(item) = item { Some(item) } else { None });
        for item in modules {
            let name = item.ident.to_string();
            let path: Vec<_> = path.iter().chain([&name]).cloned().collect();
            if item.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
                return Err(format!("{file}: `#[path]` on `mod {name}`; put the file where its name says"));
            }
            if let Some((_, items)) = &item.content {
                self.module(sources, &path, file, items)?;
            } else {
                let places = [path.join("/") + ".rs", path.join("/") + "/mod.rs"];
                let place = places.iter().find(|place| sources.contains_key(*place));
                self.file(sources, &path, place.ok_or_else(|| format!("{file}: `mod {name}` has no file"))?)?;
            }
        }
        Ok(())
    }
}

/// The name that an import gives its target; `None` for a glob.
fn name_of(import: &WrittenPath) -> Option<&str> {
    let target = import.segments.iter().rev().find(|segment| *segment != "self")?;
    let name = import.rename.as_deref().unwrap_or(target);
    (target != "*").then_some(name)
}

/// `a::{self}` is `a`.
fn without_self(import: &WrittenPath) -> Vec<String> {
    let mut segments = import.segments.clone();
    if segments.len() > 1 && segments.ends_with(&["self".to_owned()]) {
        segments.pop();
    }
    segments
}

/// `use a::B as _;` brings no name.
fn is_anonymous(tree: &UseTree) -> bool {
    match tree {
        UseTree::Path(path) => is_anonymous(&path.tree),
        UseTree::Rename(rename) => rename.rename == "_",
        _ => false,
    }
}

/// The names that an item defines.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    #[test]
    fn a_file_that_no_mod_names_is_found() {
        let sources = planted(&[("lib.rs", "mod a;"), ("a.rs", ""), ("b.rs", "")]);
        assert!(Modules::read(&sources).unwrap_err().starts_with("b.rs: no `mod` names this file"));
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_target() {
        let sources = planted(&[
            ("lib.rs", "mod a; mod d; pub use a::Renamed;"),
            (
                "a/mod.rs",
                "mod b; mod c; pub use b::B; use c::{self as see, C as Renamed}; use crate::d::*; pub struct A;",
            ),
            ("a/b.rs", "pub struct B;"),
            ("a/c.rs", "use super::b; pub struct C; mod inside { use super::super::A; }"),
            ("d.rs", "pub struct D; use std::fmt;"),
        ]);
        let modules = Modules::read(&sources).unwrap();
        let file = |from: &str, path: &str| {
            let module = modules.iter().find(|module| module.path.join("::") == from).unwrap();
            let segments = path.split("::").map(str::to_owned).collect();
            modules.file_of(module, &WrittenPath { segments, rename: None, line: 1 }).map(str::to_owned)
        };
        for (from, path, to) in [
            ("a::c", "super::A", "a/mod.rs"),
            ("a::c", "super::B::new", "a/b.rs"),
            ("a::c", "super::Renamed", "a/c.rs"),
            ("a::c", "super::D", "d.rs"),
            ("a::c", "b::B", "a/b.rs"),
            ("a::c", "crate::Renamed", "a/c.rs"),
            ("a", "see::C", "a/c.rs"),
            ("a", "b", ""),
            ("a", "b::B", "a/b.rs"),
            ("a", "self::c::C", "a/c.rs"),
            ("a::c::inside", "super::super::A", "a/mod.rs"),
            ("a::c", "super::*", "a/mod.rs"),
            ("a::b", "std::fmt", ""),
            ("a::b", "crate::d::fmt", ""),
            ("a::b", "super::super::super::x", ""),
        ] {
            assert_eq!(file(from, path).unwrap_or_default(), to, "{path} in {from}");
        }
    }
}
