//! The lines of an item in the listing.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Field, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct, ItemTrait, Meta, Path,
    TraitItem, Type, Visibility,
    visit_mut::{self, VisitMut},
};

use super::{
    joined,
    normal_form::normal_form,
    suffix,
    tree::{Target, Tree, are_left_out, cfgs, is_public, name_of},
};

const INDENT: &str = "    ";

/// Writes items, with the names in them as a user would write them.
pub struct Writer<'a> {
    tree: &'a Tree,
    exposed: BTreeSet<Target>,
}

impl<'a> Writer<'a> {
    /// A writer for a crate whose users can name these items.
    #[must_use]
    pub fn new(tree: &'a Tree, exposed: BTreeSet<Target>) -> Self {
        Self { tree, exposed }
    }

    /// An item's first line, and indented lines for what belongs to it.
    ///
    /// # Errors
    /// An item of a kind that is not known here.
    pub fn block(&self, target: &Target, path: &str, gates: &[String]) -> Result<String, String> {
        let Target::Item(module, name) = target else { return Err(format!("{path}: this is not an item")) };
        let item = self.tree.0[*module].items.iter().find(|item| name_of(item).as_ref() == Some(name));
        let item = item.ok_or_else(|| format!("{path}: the item is missing"))?;
        let gates = joined(gates, &cfgs(super::attributes(item)));
        let mut lines = self.own_lines(*module, item, path, &gates)?;
        lines.extend(self.implementations(target, &gates));
        Ok(lines.join("\n"))
    }

    fn own_lines(
        &self,
        module: usize,
        item: &Item,
        path: &str,
        gates: &[String],
    ) -> Result<Vec<String>, String> {
        let first = |text: String| vec![text + &suffix(gates)];
        Ok(match item {
            Item::Struct(item) => self.structure(module, item, path, gates),
            Item::Enum(item) => self.enumeration(module, item, path, gates),
            Item::Trait(item) => self.interface(module, item, path, gates),
            Item::Const(item) => {
                let ty = self.text(module, &item.ty);
                first(format!("const {path}: {ty} = {}", normal_form(item.expr.to_token_stream())))
            }
            Item::Type(item) => {
                let mut generics = item.generics.clone();
                self.qualify(module).visit_generics_mut(&mut generics);
                let generics = normal_form(generics.to_token_stream());
                first(format!("type {path}{generics} = {}", self.text(module, &item.ty)))
            }
            Item::Fn(item) => {
                let mut signature = item.sig.clone();
                self.qualify(module).visit_signature_mut(&mut signature);
                let text = normal_form(signature.to_token_stream());
                let text = text.replacen(&format!("fn {}", item.sig.ident), &format!("fn {path}"), 1);
                let is_attribute =
                    item.attrs.iter().any(|attribute| attribute.path().is_ident("proc_macro_attribute"));
                first(if is_attribute { format!("attribute {text}") } else { text })
            }
            _ => return Err(format!("{path}: the listing does not know this kind of item")),
        })
    }

    fn structure(&self, module: usize, item: &ItemStruct, path: &str, gates: &[String]) -> Vec<String> {
        let mut generics = item.generics.clone();
        self.qualify(module).visit_generics_mut(&mut generics);
        let mut head = format!("struct {path}{}", normal_form(generics.to_token_stream()));
        let mut members = derives(&item.attrs);
        let all_private = item.fields.iter().all(|field| !is_public(&field.vis));
        match &item.fields {
            Fields::Unnamed(fields) if !all_private => {
                let field = |field: &Field| {
                    if is_public(&field.vis) { self.text(module, &field.ty) } else { "_".to_owned() }
                };
                let fields: Vec<_> = fields.unnamed.iter().map(field).collect();
                head = format!("{head}({})", fields.join(", "));
            }
            Fields::Named(fields) => {
                for field in fields.named.iter().filter(|field| is_public(&field.vis)) {
                    let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    let gates = suffix(&beyond(gates, cfgs(&field.attrs)));
                    members.push(format!("{INDENT}{name}: {}{gates}", self.text(module, &field.ty)));
                }
            }
            _ => {}
        }
        if item.fields.iter().any(|field| !is_public(&field.vis)) {
            members.push(format!("{INDENT}private fields"));
        }
        [vec![head + growth(&item.attrs) + &suffix(gates)], members].concat()
    }

    fn enumeration(&self, module: usize, item: &ItemEnum, path: &str, gates: &[String]) -> Vec<String> {
        let mut generics = item.generics.clone();
        self.qualify(module).visit_generics_mut(&mut generics);
        let generics = normal_form(generics.to_token_stream());
        let mut lines = vec![format!("enum {path}{generics}{}{}", growth(&item.attrs), suffix(gates))];
        lines.extend(derives(&item.attrs));
        for variant in &item.variants {
            let mut written = variant.clone();
            self.qualify(module).visit_variant_mut(&mut written);
            written.attrs.clear();
            for field in &mut written.fields {
                field.attrs.clear();
            }
            let text = normal_form(written.to_token_stream());
            let gates = suffix(&beyond(gates, cfgs(&variant.attrs)));
            lines.push(format!("{INDENT}variant {text}{}{gates}", growth(&variant.attrs)));
        }
        lines
    }

    fn interface(&self, module: usize, item: &ItemTrait, path: &str, gates: &[String]) -> Vec<String> {
        let mut written = item.clone();
        self.qualify(module).visit_item_trait_mut(&mut written);
        let supertraits = match normal_form(written.supertraits.to_token_stream()) {
            none if none.is_empty() => none,
            some => format!(": {some}"),
        };
        let generics = normal_form(written.generics.to_token_stream());
        let head = format!("trait {path}{generics}{supertraits}{}", suffix(gates));
        let mut lines = Vec::new();
        for member in written.items {
            let (attributes, text) = match member {
                TraitItem::Fn(member) => {
                    let provided = if member.default.is_some() { "provided " } else { "" };
                    (member.attrs, format!("{provided}{}", normal_form(member.sig.to_token_stream())))
                }
                TraitItem::Type(mut member) => {
                    let attributes = std::mem::take(&mut member.attrs);
                    let text = normal_form(member.to_token_stream());
                    (attributes, text.trim_end_matches(';').to_owned())
                }
                other => (Vec::new(), normal_form(other.to_token_stream())),
            };
            if !are_left_out(&attributes) {
                lines.push(format!("{INDENT}{text}{}", suffix(&beyond(gates, cfgs(&attributes)))));
            }
        }
        // What must be implemented comes first, types before functions.
        let rank = |line: &str| match line.trim_start().split(' ').next() {
            Some("type") => 0,
            Some("provided") => 2,
            _ => 1,
        };
        lines.sort_by_key(|line: &String| (rank(line), line.clone()));
        [vec![head], lines].concat()
    }

    /// The methods and the implemented traits of a type, sorted.
    fn implementations(&self, target: &Target, gates: &[String]) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for (module, item) in self.all_impls() {
            if self.head_of(module, &item.self_ty).as_ref() != Some(target) {
                continue;
            }
            let around = joined(&self.tree.0[module].gates, &cfgs(&item.attrs));
            if item.trait_.is_some() {
                lines.insert(format!(
                    "{INDENT}{}{}",
                    self.impl_line(module, item),
                    suffix(&beyond(gates, around))
                ));
                continue;
            }
            for member in &item.items {
                if let Some((attributes, text)) = self.member(module, member) {
                    let gates = suffix(&beyond(gates, joined(&around, &cfgs(attributes))));
                    lines.insert(format!("{INDENT}{text}{gates}"));
                }
            }
        }
        lines.into_iter().collect()
    }

    /// The implementations that concern this crate's items, but are none of their own: `From` for a type of
    /// std, and an exposed trait for a pointer.
    #[must_use]
    pub fn of_foreign_types(&self) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for (module, item) in self.all_impls() {
            let Some((interface, _)) = &item.trait_ else { continue };
            let is_own = matches!(self.head_of(module, &item.self_ty), Some(Target::Item(..)));
            if !is_own && self.names_exposed(module, interface.to_token_stream()) {
                let gates = joined(&self.tree.0[module].gates, &cfgs(&item.attrs));
                lines.insert(self.impl_line(module, item) + &suffix(&gates));
            }
        }
        lines.into_iter().collect()
    }

    /// All implementations, except those of a trait that users cannot name.
    fn all_impls(&self) -> impl Iterator<Item = (usize, &'a ItemImpl)> {
        let of_own_trait = |(module, item): &(usize, &ItemImpl)| {
            let (interface, _) = item.trait_.as_ref()?;
            self.tree
                .resolve(*module, &segments(interface))
                .filter(|target| matches!(target, Target::Item(..)))
        };
        let all = self.tree.0.iter().enumerate().flat_map(|(module, here)| {
            here.items.iter().filter_map(move |item| match item {
                Item::Impl(item) => Some((module, item)),
                _ => None,
            })
        });
        all.filter(move |found| of_own_trait(found).is_none_or(|target| self.exposed.contains(&target)))
    }

    fn impl_line(&self, module: usize, item: &ItemImpl) -> String {
        let mut written = item.clone();
        written.attrs.clear();
        written.items.retain(|member| matches!(member, ImplItem::Type(_)));
        self.qualify(module).visit_item_impl_mut(&mut written);
        let text = normal_form(written.to_token_stream());
        text.strip_suffix(" { }").map_or_else(|| text.replace("; }", " }"), str::to_owned)
    }

    fn member<'b>(&self, module: usize, member: &'b ImplItem) -> Option<(&'b [Attribute], String)> {
        let (visibility, attributes): (&Visibility, &[Attribute]) = match member {
            ImplItem::Fn(member) => (&member.vis, &member.attrs),
            ImplItem::Const(member) => (&member.vis, &member.attrs),
            _ => return None,
        };
        if !is_public(visibility) || are_left_out(attributes) {
            return None;
        }
        let text = match member {
            ImplItem::Fn(member) => {
                let mut signature = member.sig.clone();
                self.qualify(module).visit_signature_mut(&mut signature);
                normal_form(signature.to_token_stream())
            }
            ImplItem::Const(member) => {
                let value = normal_form(member.expr.to_token_stream());
                format!("const {}: {} = {value}", member.ident, self.text(module, &member.ty))
            }
            _ => return None,
        };
        Some((attributes, text))
    }

    /// What a type is apart from its arguments.
    fn head_of(&self, module: usize, ty: &Type) -> Option<Target> {
        match ty {
            Type::Path(ty) => self.tree.resolve(module, &segments(&ty.path)),
            Type::Reference(ty) => self.head_of(module, &ty.elem),
            _ => None,
        }
    }

    fn names_exposed(&self, module: usize, tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Group(group) => self.names_exposed(module, group.stream()),
            TokenTree::Ident(name) => self
                .tree
                .resolve(module, &[name.to_string()])
                .is_some_and(|target| self.exposed.contains(&target)),
            _ => false,
        })
    }

    fn text(&self, module: usize, ty: &Type) -> String {
        let mut ty = ty.clone();
        self.qualify(module).visit_type_mut(&mut ty);
        normal_form(ty.to_token_stream())
    }

    fn qualify(&self, module: usize) -> Qualify<'_> {
        Qualify { writer: self, module }
    }
}

/// Replaces the paths of a module by those that a user would write.
struct Qualify<'a> {
    writer: &'a Writer<'a>,
    module: usize,
}

impl VisitMut for Qualify<'_> {
    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        let tree = self.writer.tree;
        let target = match tree.resolve(self.module, &segments(path)) {
            Some(Target::Foreign(target)) => target,
            Some(target @ Target::Item(module, _)) => {
                let Target::Item(_, name) = &target else { return };
                if self.writer.exposed.contains(&target) {
                    vec![name.clone()]
                } else {
                    ["crate".to_owned()]
                        .into_iter()
                        .chain(tree.0[module].path.clone())
                        .chain([name.clone()])
                        .collect()
                }
            }
            _ => return,
        };
        let Some(arguments) = path.segments.last().map(|last| last.arguments.clone()) else { return };
        // The prelude has it, so whether it is imported makes no difference.
        let target = if target == ["std", "future", "Future"] { vec!["Future".to_owned()] } else { target };
        let Ok(mut written) = syn::parse_str::<Path>(&target.join("::")) else { return };
        if let Some(last) = written.segments.last_mut() {
            last.arguments = arguments;
        }
        *path = written;
    }
}

fn segments(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// The conditions that the item around does not have.
fn beyond(outer: &[String], mut inner: Vec<String>) -> Vec<String> {
    inner.retain(|condition| !outer.contains(condition));
    inner
}

/// Whether users have to expect more fields or variants.
fn growth(attributes: &[Attribute]) -> &'static str {
    let grows = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    if grows { ", non_exhaustive" } else { "" }
}

/// A line with the derived traits, sorted.
fn derives(attributes: &[Attribute]) -> Vec<String> {
    let mut derived = BTreeSet::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        if let Meta::List(list) = &attribute.meta {
            let text = normal_form(list.tokens.clone());
            let names = text.split(", ").map(|path| path.rsplit("::").next().unwrap_or(path).to_owned());
            derived.extend(names);
        }
    }
    if derived.is_empty() {
        return Vec::new();
    }
    vec![format!("{INDENT}derive {}", derived.into_iter().collect::<Vec<_>>().join(", "))]
}
