//! The names that a function's arguments bind.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    FnArg, GenericParam, Ident, PatIdent, Signature, ext::IdentExt, visit::Visit, visit_mut::VisitMut,
};

/// The names that the function binds: arguments, `self` and const generics, each with the place where it is
/// bound.
pub(crate) struct Bindings {
    names: Vec<(String, Span)>,
}

impl Bindings {
    pub(crate) fn of(signature: &Signature) -> Self {
        let known = |ident: &Ident| (ident.unraw().to_string(), ident.span());
        let mut names: Vec<_> = bound_names(signature).iter().map(|binding| known(&binding.ident)).collect();
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

/// A name that an argument's pattern binds, and whether it is bound as `mut`.
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    pub(crate) mutable: bool,
}

/// Returns all names that the arguments bind, in order.
pub(crate) fn bound_names(signature: &Signature) -> Vec<Binding> {
    struct Collect(Vec<Binding>);
    impl Visit<'_> for Collect {
        fn visit_pat_ident(&mut self, pat: &PatIdent) {
            // A bare upper-case name in a pattern is a constant or a unit struct, which binds nothing.
            let constant = pat.subpat.is_none()
                && pat.by_ref.is_none()
                && pat.mutability.is_none()
                && pat.ident.to_string().starts_with(char::is_uppercase);
            if !constant {
                self.0.push(Binding { ident: pat.ident.clone(), mutable: pat.mutability.is_some() });
            }
            syn::visit::visit_pat_ident(self, pat);
        }
    }
    let mut collect = Collect(Vec::new());
    for input in &signature.inputs {
        if let FnArg::Typed(input) = input {
            collect.visit_pat(&input.pat);
        }
    }
    collect.0
}

/// Removes `mut` from the arguments that the expansion binds again, as `mut`, in the body. rustc would report
/// the first `mut` as unused.
pub(crate) fn make_immutable(signature: &mut Signature, moved: &[Ident]) {
    struct Strip<'a>(&'a [Ident]);
    impl VisitMut for Strip<'_> {
        fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
            // In `ref mut x` the `mut` belongs to the reference.
            if pat.by_ref.is_none() && self.0.contains(&pat.ident) {
                pat.mutability = None;
            }
            syn::visit_mut::visit_pat_ident_mut(self, pat);
        }
    }
    for input in &mut signature.inputs {
        if let FnArg::Typed(input) = input {
            Strip(moved).visit_pat_mut(&mut input.pat);
        }
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
            bound_names(&signature).iter().map(|binding| binding.ident.to_string()).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "g", "h", "i", "j"]);
    }
}
