//! The names that a function's arguments bind.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    Attribute, FnArg, GenericParam, Ident, Local, PatIdent, Signature, Token, ext::IdentExt, visit::Visit,
    visit_mut::VisitMut,
};

/// The names that the function binds: arguments, `self` and const generics, each with the place where it is
/// bound.
pub(crate) struct Bindings {
    names: Vec<(String, Span)>,
}

impl Bindings {
    /// The names that the signature binds, and those of the patterns that are in the body.
    pub(crate) fn of(signature: &Signature, patterns: &[Local]) -> Self {
        let known = |ident: &Ident| (ident.unraw().to_string(), ident.span());
        let mut names: Vec<_> =
            bound_names(signature, patterns).iter().map(|binding| known(&binding.ident)).collect();
        if let Some(receiver) = signature.receiver() {
            names.push(("self".to_owned(), receiver.self_token.span));
        }
        names.extend(signature.generics.params.iter().filter_map(|param| match param {
            GenericParam::Const(param) => Some(known(&param.ident)),
            _ => None,
        }));
        Self { names }
    }

    #[cfg(test)]
    pub(crate) fn of_names(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| ((*name).to_owned(), Span::call_site())).collect() }
    }

    /// Returns the place where the name is bound.
    pub(crate) fn get(&self, name: &str) -> Option<Span> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, span)| *span)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }
}

/// A name that an argument's pattern binds.
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    /// The word `mut` before the name.
    pub(crate) mutable: Option<Token![mut]>,
    /// The conditions under which there is such an argument: its attributes `#[cfg(..)]`.
    pub(crate) conditions: Vec<Attribute>,
}

/// Returns all names that the arguments bind, in order. The patterns of some arguments may be in the body.
pub(crate) fn bound_names(signature: &Signature, patterns: &[Local]) -> Vec<Binding> {
    struct Collect<'a>(Vec<Binding>, &'a [Attribute]);
    impl Visit<'_> for Collect<'_> {
        fn visit_pat_ident(&mut self, pat: &PatIdent) {
            // A bare upper-case name in a pattern is a constant or a unit struct, which binds nothing.
            let constant = pat.subpat.is_none()
                && pat.by_ref.is_none()
                && pat.mutability.is_none()
                && pat.ident.to_string().starts_with(char::is_uppercase);
            if !constant {
                // In `ref mut x` the `mut` belongs to the reference.
                let mutable = pat.mutability.filter(|_| pat.by_ref.is_none());
                self.0.push(Binding { ident: pat.ident.clone(), mutable, conditions: conditions(self.1) });
            }
            syn::visit::visit_pat_ident(self, pat);
        }
    }
    let arguments = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some((&*input.pat, &input.attrs)),
        FnArg::Receiver(_) => None,
    });
    let mut names = Vec::new();
    for (pat, attrs) in arguments.chain(patterns.iter().map(|local| (&local.pat, &local.attrs))) {
        let mut collect = Collect(names, attrs);
        collect.visit_pat(pat);
        names = collect.0;
    }
    names
}

/// The attributes `#[cfg(..)]` among the attributes.
pub(crate) fn conditions(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect()
}

/// Removes `mut` from the arguments that the expansion binds again, as `mut`, in the body. rustc would report
/// the first `mut` as unused.
pub(crate) fn make_immutable(signature: &mut Signature, patterns: &mut [Local], moved: &[Ident]) {
    struct Strip<'a>(&'a [Ident]);
    impl VisitMut for Strip<'_> {
        fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
            if pat.by_ref.is_none() && self.0.contains(&pat.ident) {
                pat.mutability = None;
            }
            syn::visit_mut::visit_pat_ident_mut(self, pat);
        }
    }
    let arguments = signature.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(input) => Some(&mut *input.pat),
        FnArg::Receiver(_) => None,
    });
    for pat in arguments.chain(patterns.iter_mut().map(|local| &mut local.pat)) {
        Strip(moved).visit_pat_mut(pat);
    }
}

/// Whether the tokens mention the name, in code or in the braces of a format string.
pub(crate) fn mentions(tokens: &impl ToTokens, name: &str) -> bool {
    tokens.to_token_stream().into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident.unraw() == *name,
        proc_macro2::TokenTree::Group(group) => mentions(&group.stream(), name),
        proc_macro2::TokenTree::Literal(literal) => mentions_in_format(&literal.to_string(), name),
        proc_macro2::TokenTree::Punct(_) => false,
    })
}

/// Whether a format string captures the name, as `"{name}"`, `"{name:?}"` and `"{:name$}"` do.
fn mentions_in_format(literal: &str, name: &str) -> bool {
    literal.match_indices(name).any(|(at, _)| {
        literal[..at].trim_end().ends_with('{')
            && literal[at + name.len()..].trim_start().starts_with(['}', ':'])
            || literal[at + name.len()..].starts_with('$')
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_name_is_found_in_groups_and_format_strings() {
        assert!(mentions(
            &quote!(if a {
                b(order)
            }),
            "order"
        ));
        assert!(mentions(&quote!(println!("{order:?}")), "order"));
        assert!(mentions(&quote!(println!("{:>order$}", 1)), "order"));
        assert!(mentions(&quote!(r#type), "type"));
        assert!(!mentions(&quote!(orders("order", x.borders)), "order"));
    }

    #[test]
    fn the_names_in_every_kind_of_pattern_are_found() {
        let signature: Signature = syn::parse_quote!(
            fn f(
                &self,
                a: u8,
                mut b: u8,
                Path((c, d)): Path<(u8, u8)>,
                P { e, f: g, .. }: P,
                [h, ..]: [u8; 3],
                i @ 1..: u8,
                _: u8,
                &j: &u8,
                NONE: X,
            )
        );
        let found: Vec<String> =
            bound_names(&signature, &[]).iter().map(|binding| binding.ident.to_string()).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "g", "h", "i", "j"]);
    }
}
