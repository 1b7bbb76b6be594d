//! A crate's modules with their items, and what a path means in one of them.

use std::collections::BTreeMap;

use quote::ToTokens;
use syn::{Attribute, Item, ItemMod, Meta, UseTree, Visibility};

use super::{
    expand::{rules, written_out},
    normal_form::normal_form,
};
use crate::Sources;

/// How many imports a name is followed through.
const MOST_IMPORTS: usize = 20;

/// One name that a `use` brings.
pub struct Import {
    /// The name in this module; `*` for a glob.
    pub name: String,
    /// The path as it is written.
    pub path: Vec<String>,
    /// The conditions under which it is compiled.
    pub gates: Vec<String>,
    /// Whether it is a `pub use`.
    pub is_public: bool,
}

/// A module, in a file of its own or inside of another.
#[derive(Default)]
pub struct Module {
    /// `store`, `redis` for `crate::store::redis`; empty for the crate's root.
    pub path: Vec<String>,
    /// Its items, without those for tests and for the documentation.
    pub items: Vec<Item>,
    /// What its `use` items bring.
    pub imports: Vec<Import>,
    /// The conditions under which it is compiled.
    pub gates: Vec<String>,
    children: BTreeMap<String, usize>,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An item of this crate: the number of its module, and its name.
    Item(usize, String),
    /// A module of this crate.
    Module(usize),
    /// A path that begins with another crate's name.
    Foreign(Vec<String>),
}

/// All modules of a crate, the root first.
pub struct Tree(pub Vec<Module>);

impl Tree {
    /// Reads a crate from its `lib.rs` on.
    ///
    /// # Errors
    /// A file that is missing or does not parse.
    pub fn read(sources: &Sources) -> Result<Self, String> {
        let mut tree = Self(Vec::new());
        tree.file(sources, &[], &[], "lib.rs")?;
        Ok(tree)
    }

    fn file(
        &mut self,
        sources: &Sources,
        path: &[String],
        gates: &[String],
        file: &str,
    ) -> Result<usize, String> {
        let source = sources.get(file).ok_or_else(|| format!("{file}: the file is missing"))?;
        let parsed = syn::parse_file(source)
            .map_err(|error| format!("{file}:{}: {error}", error.span().start().line))?;
        self.module(sources, path, gates, parsed.items)
    }

    fn module(
        &mut self,
        sources: &Sources,
        path: &[String],
        gates: &[String],
        items: Vec<Item>,
    ) -> Result<usize, String> {
        let this = self.0.len();
        self.0.push(Module { path: path.to_vec(), gates: gates.to_vec(), ..Module::default() });
        let rules = rules(&items);
        for item in items.into_iter().flat_map(|item| written_out(item, &rules)) {
            if attributes(&item).iter().any(is_left_out) {
                continue;
            }
            match &item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let number = self.child(sources, path, gates, child)?;
                    self.0[this].children.insert(name, number);
                }
                Item::Use(import) => {
                    let (gates, is_public) = (cfgs(&import.attrs), is_public(&import.vis));
                    let mut leaf = |path: Vec<String>, name| {
                        let import = Import { name, path, gates: gates.clone(), is_public };
                        self.0[this].imports.push(import);
                    };
                    leaves(&import.tree, &mut Vec::new(), &mut leaf);
                }
                _ => {}
            }
            self.0[this].items.push(item);
        }
        Ok(this)
    }

    fn child(
        &mut self,
        sources: &Sources,
        path: &[String],
        gates: &[String],
        child: &ItemMod,
    ) -> Result<usize, String> {
        let path: Vec<_> = path.iter().cloned().chain([child.ident.to_string()]).collect();
        let gates: Vec<_> = gates.iter().cloned().chain(cfgs(&child.attrs)).collect();
        if let Some((_, items)) = &child.content {
            return self.module(sources, &path, &gates, items.clone());
        }
        let files = [path.join("/") + ".rs", path.join("/") + "/mod.rs"];
        let file = files.iter().find(|file| sources.contains_key(*file));
        self.file(sources, &path, &gates, file.ok_or_else(|| format!("{}: no such file", files[0]))?)
    }

    /// What a path in a module names; `None` for the prelude and local names.
    #[must_use]
    pub fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.resolve_within(module, path, true, MOST_IMPORTS)
    }

    /// What an import names. If it is nothing of this crate, it is another crate's.
    #[must_use]
    pub fn imported(&self, module: usize, import: &Import) -> Target {
        self.import_target(module, import, MOST_IMPORTS)
    }

    fn import_target(&self, module: usize, import: &Import, left: usize) -> Target {
        let path = &import.path;
        let own = left.checked_sub(1).and_then(|left| self.resolve_within(module, path, false, left));
        own.unwrap_or_else(|| Target::Foreign(path.clone()))
    }

    /// `with_imports` is false for the path of an import, which must not be resolved by itself.
    fn resolve_within(
        &self,
        mut module: usize,
        path: &[String],
        with_imports: bool,
        left: usize,
    ) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        match &**first {
            "crate" => module = 0,
            "self" => {}
            "super" => module = self.parent(module)?,
            _ => return self.named(module, first, rest, with_imports, left),
        }
        while let Some((first, after)) = rest.split_first()
            && first == "super"
        {
            (module, rest) = (self.parent(module)?, after);
        }
        match rest.split_first() {
            None => Some(Target::Module(module)),
            Some((first, rest)) => self.named(module, first, rest, true, left),
        }
    }

    /// What a name of a module, and the path after it, names.
    fn named(
        &self,
        module: usize,
        name: &str,
        rest: &[String],
        with_imports: bool,
        left: usize,
    ) -> Option<Target> {
        let here = &self.0[module];
        if let Some(&child) = here.children.get(name) {
            return match rest.split_first() {
                None => Some(Target::Module(child)),
                Some((name, rest)) => self.named(child, name, rest, true, left),
            };
        }
        if rest.is_empty() && here.items.iter().any(|item| name_of(item).as_deref() == Some(name)) {
            return Some(Target::Item(module, name.to_owned()));
        }
        if !with_imports && here.imports.iter().all(|import| import.name != name || import.path[0] == name) {
            return None;
        }
        let left = left.checked_sub(1)?;
        if let Some(import) = here.imports.iter().find(|import| import.name == name) {
            return match self.import_target(module, import, left) {
                Target::Module(module) => match rest.split_first() {
                    None => Some(Target::Module(module)),
                    Some((name, rest)) => self.named(module, name, rest, true, left),
                },
                Target::Foreign(path) => {
                    Some(Target::Foreign(path.into_iter().chain(rest.iter().cloned()).collect()))
                }
                item @ Target::Item(..) => Some(item),
            };
        }
        let mut globs = here.imports.iter().filter(|import| import.name == "*");
        globs.find_map(|glob| match self.import_target(module, glob, left) {
            Target::Module(from) if from != module => self.named(from, name, rest, true, left),
            _ => None,
        })
    }

    fn parent(&self, module: usize) -> Option<usize> {
        let path = &self.0[module].path;
        let parent = &path[..path.len().checked_sub(1)?];
        self.0.iter().position(|module| module.path == parent)
    }
}

fn leaves(tree: &UseTree, path: &mut Vec<String>, leaf: &mut impl FnMut(Vec<String>, String)) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            leaves(&tree.tree, path, leaf);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, leaf)),
        UseTree::Glob(_) => leaf(path.clone(), "*".to_owned()),
        UseTree::Name(name) if name.ident == "self" => {
            leaf(path.clone(), path.last().cloned().unwrap_or_default());
        }
        UseTree::Name(name) => leaf(with(path, &name.ident.to_string()), name.ident.to_string()),
        UseTree::Rename(rename) if rename.ident == "self" => leaf(path.clone(), rename.rename.to_string()),
        UseTree::Rename(rename) => leaf(with(path, &rename.ident.to_string()), rename.rename.to_string()),
    }
}

fn with(path: &[String], name: &str) -> Vec<String> {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// Whether the item is not for those who use the crate: hidden, or for tests and documentation alone.
fn is_left_out(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let words: Vec<_> = list.tokens.clone().into_iter().flat_map(words).collect();
    let has = |word: &str| words.iter().any(|found| found == word);
    if list.path.is_ident("doc") {
        return has("hidden");
    }
    list.path.is_ident("cfg") && !has("not") && ["test", "doc", "doctest"].into_iter().any(has)
}

fn words(token: proc_macro2::TokenTree) -> Vec<String> {
    match token {
        proc_macro2::TokenTree::Group(group) => group.stream().into_iter().flat_map(words).collect(),
        token => vec![token.to_string()],
    }
}

/// Whether attributes take an item out of the public interface.
#[must_use]
pub fn are_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(is_left_out)
}

/// The conditions of an item, as `feature = "redis"`.
#[must_use]
pub fn cfgs(attributes: &[Attribute]) -> Vec<String> {
    let cfg = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => Some(normal_form(list.tokens.to_token_stream())),
        _ => None,
    };
    attributes.iter().filter_map(cfg).collect()
}

/// Whether an item is `pub`, without restriction.
#[must_use]
pub fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The attributes of an item.
#[must_use]
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines; `None` for a `use`, a `mod` and an `impl`.
#[must_use]
pub fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
