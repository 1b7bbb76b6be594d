//! The arguments that a handler borrows although the body uses them up.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    Expr, ExprClosure, ExprPath, Macro, PatIdent,
    ext::IdentExt,
    visit::{self, Visit},
};

use crate::bindings::mentions;

/// Returns where a handler mentions the name, if the handler is a closure that borrows what it mentions.
///
/// Any other expression may use the name while it is evaluated, which is before the body runs.
pub(crate) fn borrowed(handler: &Expr, name: &Ident) -> Option<Span> {
    match handler {
        Expr::Closure(closure) if closure.capture.is_none() => mention(closure, name),
        _ => None,
    }
}

/// Returns where the closure mentions the name, unless the closure has a variable of that name.
fn mention(closure: &ExprClosure, name: &Ident) -> Option<Span> {
    let mut search = Search { name: name.unraw().to_string(), found: None, is_shadowed: false };
    search.visit_expr_closure(closure);
    search.found.filter(|_| !search.is_shadowed)
}

struct Search {
    name: String,
    found: Option<Span>,
    is_shadowed: bool,
}

impl Search {
    fn is_name(&self, ident: &Ident) -> bool {
        ident.unraw() == self.name
    }
}

impl Visit<'_> for Search {
    fn visit_expr_path(&mut self, path: &ExprPath) {
        if let Some(ident) = path.path.get_ident()
            && path.qself.is_none()
            && self.is_name(ident)
        {
            self.found.get_or_insert_with(|| ident.span());
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_pat_ident(&mut self, pat: &PatIdent) {
        self.is_shadowed |= self.is_name(&pat.ident);
        visit::visit_pat_ident(self, pat);
    }

    fn visit_macro(&mut self, mac: &Macro) {
        if self.found.is_none() {
            self.found = in_macro(&mac.tokens, &self.name);
        }
    }
}

/// Returns where the tokens of a macro call mention the name: as a variable, or in a format string.
fn in_macro(tokens: &TokenStream, name: &str) -> Option<Span> {
    let mut is_field = false;
    for token in tokens.clone() {
        let after_dot =
            std::mem::replace(&mut is_field, matches!(&token, TokenTree::Punct(dot) if dot.as_char() == '.'));
        let found = match &token {
            TokenTree::Ident(ident) if !after_dot && ident.unraw() == *name => Some(ident.span()),
            TokenTree::Group(group) => in_macro(&group.stream(), name),
            TokenTree::Literal(literal) if mentions(literal, name) => Some(literal.span()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use quote::format_ident;
    use syn::parse_quote;

    use super::*;

    fn is_borrowed(handler: Expr) -> bool {
        borrowed(&handler, &format_ident!("order")).is_some()
    }

    #[test]
    fn a_closure_borrows_the_variables_that_it_mentions() {
        assert!(is_borrowed(parse_quote!(|e| Err(ApiError { id: order.id.clone(), source: e }))));
        assert!(is_borrowed(parse_quote!(|e| Err(ApiError { order, source: e }))));
        assert!(is_borrowed(parse_quote!(|e| bail!("{} {e}", order.id))));
        assert!(is_borrowed(parse_quote!(|e| bail!("{order} {e}"))));
        assert!(is_borrowed(parse_quote!(|e| if e.key() == order { 1 } else { 2 })));
    }

    #[test]
    fn fields_other_variables_and_other_expressions_are_not_borrowed() {
        assert!(!is_borrowed(parse_quote!(|e| Err(ApiError { order: None, source: e }))));
        assert!(!is_borrowed(parse_quote!(|e| bail!("{e:?}", e.order))));
        assert!(!is_borrowed(parse_quote!(|order| Err(order))));
        assert!(!is_borrowed(parse_quote!(handler(order.id))));
        assert!(!is_borrowed(parse_quote!({
            let id = order.id.clone();
            move |e| (id, e)
        })));
        assert!(!is_borrowed(parse_quote!(move |e| (order.id, e))));
    }
}
