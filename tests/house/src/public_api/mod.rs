//! The public interface of a crate as text: every item that its users can name, with its methods, fields,
//! variants and implementations of traits, and the conditions under which each is compiled.
//!
//! The listing is made of the sources, so that it is the same with every compiler. Names from other crates
//! are written with their whole path. A type of the crate that its users cannot name is written with its
//! path from `crate`. What a listing of sources cannot show: auto traits, and items that a macro of another
//! crate writes.
//!
//! - [`tree`] reads a crate and resolves paths, [`expand`] writes the crate's own macros out.
//! - [`normal_form`] writes code in one way.
//! - [`items`] writes an item's lines.

pub mod expand;
pub mod items;
pub mod normal_form;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use self::{
    items::Writer,
    tree::{Import, Target, Tree, are_left_out, attributes, cfgs, is_public, name_of},
};
use crate::Sources;

/// What a crate's users can name.
#[derive(Default)]
struct Exposed {
    /// The items of this crate, by what they are: their paths, each with its conditions.
    items: BTreeMap<Target, BTreeMap<String, Vec<String>>>,
    /// The lines of what comes from other crates.
    foreign: BTreeSet<String>,
}

/// Lists the public interface of a crate. `manifest` is the text of its `Cargo.toml`.
///
/// # Errors
/// A file that does not parse, and a `pub use` that cannot be followed.
pub fn listing(manifest: &str, sources: &Sources) -> Result<String, String> {
    let tree = Tree::read(sources)?;
    let mut exposed = Exposed::default();
    expose(&tree, 0, "", &[], &mut exposed)?;
    let mut blocks: Vec<String> = features(manifest).into_iter().collect();
    if !exposed.foreign.is_empty() {
        blocks.push(exposed.foreign.into_iter().collect::<Vec<_>>().join("\n"));
    }
    let writer = Writer::new(&tree, exposed.items.keys().cloned().collect());
    let mut written = BTreeMap::new();
    for (target, paths) in &exposed.items {
        for (path, gates) in paths {
            written.insert(path.to_lowercase(), writer.block(target, path, gates)?);
        }
    }
    blocks.extend(written.into_values());
    blocks.extend(writer.of_foreign_types());
    Ok(blocks.join("\n\n") + "\n")
}

/// Finds what is public in a module whose own path is `prefix`.
fn expose(
    tree: &Tree,
    module: usize,
    prefix: &str,
    gates: &[String],
    exposed: &mut Exposed,
) -> Result<(), String> {
    let here = &tree.0[module];
    let public = here.items.iter().filter(|item| !are_left_out(attributes(item)));
    for item in public.filter(|item| is_public_item(item)) {
        if let Item::Mod(child) = item {
            let name = child.ident.to_string();
            let Some(Target::Module(number)) = tree.resolve(module, std::slice::from_ref(&name)) else {
                continue;
            };
            let gates = joined(gates, &cfgs(&child.attrs));
            expose(tree, number, &format!("{prefix}{name}::"), &gates, exposed)?;
        } else if let Some(name) = name_of(item) {
            let paths = exposed.items.entry(Target::Item(module, name.clone())).or_default();
            paths.insert(format!("{prefix}{name}"), gates.to_vec());
        }
    }
    for import in here.imports.iter().filter(|import| import.is_public) {
        expose_import(tree, module, prefix, gates, import, exposed)?;
    }
    Ok(())
}

fn expose_import(
    tree: &Tree,
    module: usize,
    prefix: &str,
    gates: &[String],
    import: &Import,
    exposed: &mut Exposed,
) -> Result<(), String> {
    let gates = joined(gates, &import.gates);
    match tree.imported(module, import) {
        Target::Module(from) if import.name == "*" => expose(tree, from, prefix, &gates, exposed),
        Target::Module(from) => expose(tree, from, &format!("{prefix}{}::", import.name), &gates, exposed),
        target @ Target::Item(..) => {
            let paths = exposed.items.entry(target).or_default();
            paths.insert(format!("{prefix}{}", import.name), gates);
            Ok(())
        }
        Target::Foreign(path) if matches!(&*path[0], "crate" | "self" | "super") => {
            Err(format!("pub use {}: the listing does not find what it names", path.join("::")))
        }
        Target::Foreign(path) => {
            let glob = if import.name == "*" { "::*" } else { "" };
            let place = format!("{prefix}{}", import.name);
            let is_same = path.last() == Some(&place) || place == "*";
            let renamed = if is_same { String::new() } else { format!(" as {place}") };
            exposed.foreign.insert(format!("use {}{glob}{renamed}{}", path.join("::"), suffix(&gates)));
            Ok(())
        }
    }
}

fn is_public_item(item: &Item) -> bool {
    is_public(match item {
        Item::Const(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Mod(item) => &item.vis,
        Item::Static(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Type(item) => &item.vis,
        Item::Union(item) => &item.vis,
        _ => return false,
    })
}

/// Conditions, each of them once.
fn joined(outer: &[String], inner: &[String]) -> Vec<String> {
    outer.iter().chain(inner).cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Conditions at the end of a line. One of several alternatives makes the alternatives superfluous.
fn suffix(gates: &[String]) -> String {
    let is_implied = |gate: &&String| {
        gate.starts_with("any(") && gates.iter().any(|other| other != *gate && gate.contains(&**other))
    };
    let gates: Vec<_> = gates.iter().filter(|gate| !is_implied(gate)).cloned().collect();
    if gates.is_empty() { String::new() } else { format!("  [{}]", gates.join(", ")) }
}

/// The features of a manifest, without what they turn on; the default ones with it.
fn features(manifest: &str) -> Option<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let settings = lines.filter_map(|line| line.split_once(" = ")).filter(|(name, _)| !name.starts_with('#'));
    let features: Vec<_> = settings
        .map(|(name, on)| if name == "default" { format!("default = {on}") } else { name.to_owned() })
        .collect();
    (!features.is_empty()).then(|| format!("features {}", features.join(", ")))
}

/// The types and functions of other crates that a listing names, apart from those of std and of this project.
#[must_use]
pub fn foreign_types(listing: &str) -> BTreeSet<String> {
    let own: BTreeSet<_> = listing.lines().filter_map(own_path).collect();
    let is_foreign = |path: &&str| {
        let Some((first, _)) = path.split_once("::") else { return false };
        first.starts_with(|c: char| c.is_lowercase())
            && !matches!(first, "std" | "core" | "alloc" | "proc_macro" | "crate")
            && !first.starts_with("distlock")
            && !own.contains(path)
    };
    let paths = listing.split(|c| !is_in_path(c)).map(|path| path.trim_matches(':'));
    paths.filter(is_foreign).map(str::to_owned).collect()
}

/// The path of the item whose first line this is.
fn own_path(line: &str) -> Option<&str> {
    let mut words = line.split(' ').map(|word| word.split(|c| !is_in_path(c)).next().unwrap_or_default());
    match words.next()? {
        "" | "impl" => None,
        "use" => line.split_once(" as ").map(|(_, path)| path.split(' ').next().unwrap_or_default()),
        _ => words
            .find(|word| !matches!(*word, "fn" | "async" | "unsafe"))
            .map(|path| path.trim_end_matches(':')),
    }
}

fn is_in_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    fn listed(files: &[(&str, &str)]) -> String {
        listing("", &planted(files)).unwrap()
    }

    #[test]
    fn an_item_is_listed_where_its_users_find_it() {
        let text = listed(&[
            (
                "lib.rs",
                "mod a; pub mod b { pub const C: u8 = 1; pub use other::E; } pub use a::{A, f as g}; \
              pub use other::D;",
            ),
            ("a.rs", "mod c; pub use c::A; pub fn f(mut x: u8) {} pub struct NotExported;"),
            ("a/c.rs", "pub struct A { pub x: std::net::IpAddr, y: u8 }"),
        ]);
        assert_eq!(
            text,
            "use other::D\nuse other::E as b::E\n\nstruct A\n    x: std::net::IpAddr\n    private fields\n\n\
             const b::C: u8 = 1\n\nfn g(x: u8)\n"
        );
        assert_eq!(foreign_types(&text), BTreeSet::from(["other::D".to_owned(), "other::E".to_owned()]));
    }

    #[test]
    fn what_is_hidden_or_restricted_is_not_listed() {
        let text = listed(&[(
            "lib.rs",
            "#[doc(hidden)] pub mod a { pub struct A; } pub(crate) struct B; #[cfg(doctest)] pub struct C; \
             #[cfg(any(doc, doctest))] pub mod d { pub struct D; } \
             trait Own {} impl Own for E {} pub struct E; impl E { fn f(&self) {} pub(crate) fn g() {} #[doc(hidden)] pub fn h() {} }",
        )]);
        assert_eq!(text, "struct E\n");
    }

    #[test]
    fn conditions_are_listed_and_the_ones_around_count() {
        let text = listed(&[
            ("lib.rs", "#[cfg(feature = \"x\")] pub use a::A; mod a;"),
            (
                "a.rs",
                "pub struct A; #[cfg(feature = \"y\")] impl A { #[cfg(unix)] pub fn f() {} pub fn g() {} }",
            ),
        ]);
        assert_eq!(
            text,
            "struct A  [feature = \"x\"]\n    fn f()  [feature = \"y\", unix]\n    fn g()  [feature = \"y\"]\n"
        );
    }

    #[test]
    fn names_of_other_crates_have_their_whole_path_and_private_ones_show() {
        let text = listed(&[(
            "lib.rs",
            "use tokio::time::{self, Instant as When}; mod a { pub struct Hidden; } use a::Hidden; \
             pub struct A(pub When); impl A { pub fn f(at: time::Instant, x: Hidden, y: Self) -> A {} }",
        )]);
        assert_eq!(
            text,
            "struct A(tokio::time::Instant)\n    \
             fn f(at: tokio::time::Instant, x: crate::a::Hidden, y: Self) -> A\n"
        );
        assert_eq!(foreign_types(&text), BTreeSet::from(["tokio::time::Instant".to_owned()]));
    }

    #[test]
    fn an_enum_has_its_variants_and_a_trait_what_must_be_implemented() {
        let text = listed(&[(
            "lib.rs",
            "#[derive(Debug, Clone)] #[non_exhaustive] pub enum E { B { x: u8 }, #[non_exhaustive] A } \
             pub trait T: Send { type O; fn must(&self); fn may(&self) {} } \
             impl T for E { type O = u8; fn must(&self) {} } impl From<E> for std::io::Error {}",
        )]);
        assert_eq!(
            text,
            "enum E, non_exhaustive\n    derive Clone, Debug\n    variant B { x: u8 }\n    \
             variant A, non_exhaustive\n    impl T for E { type O = u8 }\n\n\
             trait T: Send\n    type O\n    fn must(&self)\n    provided fn may(&self)\n\n\
             impl From<E> for std::io::Error\n"
        );
    }
}
