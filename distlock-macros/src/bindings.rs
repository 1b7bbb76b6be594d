//! The names that a function's arguments bring in.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    FnArg, GenericParam, Ident, PatIdent, Signature, ext::IdentExt, visit::Visit, visit_mut::VisitMut,
};

/// The names that the key and other argument expressions may use, and where they are resolved.
pub(crate) struct Bindings {
    names: Vec<(String, Span)>,
}

impl Bindings {
    pub(crate) fn of(signature: &Signature) -> Self {
        let known = |ident: &Ident| (ident.unraw().to_string(), ident.span());
        let mut names: Vec<_> = bound(signature).iter().map(|binding| known(&binding.ident)).collect();
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

    /// Where the name was bound.
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
    pub(crate) mutable: bool,
}

/// All names that the arguments bind, in order.
pub(crate) fn bound(signature: &Signature) -> Vec<Binding> {
    struct Collect(Vec<Binding>);
    impl Visit<'_> for Collect {
        fn visit_pat_ident(&mut self, pat: &PatIdent) {
            // A bare upper-case name in a pattern is a constant or a unit struct.
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

/// Takes the `mut` from the names that are bound anew, mutably, in the body.
pub(crate) fn make_immutable(signature: &mut Signature, moved: &[Ident]) {
    struct Strip<'a>(&'a [Ident]);
    impl VisitMut for Strip<'_> {
        fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
            // `mut x @ ..` and `ref mut x` mean something else.
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

/// Whether the tokens contain the name, also inside a format string's braces.
pub(crate) fn names(tokens: &impl ToTokens, name: &str) -> bool {
    tokens.to_token_stream().into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident.unraw() == *name,
        proc_macro2::TokenTree::Group(group) => names(&group.stream(), name),
        proc_macro2::TokenTree::Literal(literal) => in_format(&literal.to_string(), name),
        proc_macro2::TokenTree::Punct(_) => false,
    })
}

/// `"{name}"` and `"{name:?}"` capture the name.
fn in_format(literal: &str, name: &str) -> bool {
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
    fn names_are_found_in_groups_and_format_strings() {
        assert!(names(
            &quote!(if a {
                b(order)
            }),
            "order"
        ));
        assert!(names(&quote!(println!("{order:?}")), "order"));
        assert!(names(&quote!(println!("{:>order$}", 1)), "order"));
        assert!(names(&quote!(r#type), "type"));
        assert!(!names(&quote!(orders("order", x.borders)), "order"));
    }

    #[test]
    fn every_pattern_binds_its_names() {
        let signature: Signature = syn::parse_quote!(
            fn f(&self, a: u8, mut b: u8, Path((c, d)): Path<(u8, u8)>, P { e, f: g, .. }: P, [h, ..]: [u8; 3], i @ 1..: u8, _: u8, &j: &u8, NONE: X)
        );
        let found: Vec<String> = bound(&signature).iter().map(|binding| binding.ident.to_string()).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "g", "h", "i", "j"]);
    }
}
