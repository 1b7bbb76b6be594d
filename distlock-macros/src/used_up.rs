//! The arguments that a handler keeps although the body uses them up.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    Expr, ExprClosure, ExprField, ExprPath, Macro, PatIdent,
    ext::IdentExt,
    visit::{self, Visit},
};

use crate::bindings::mentions;

/// Returns where a handler mentions the name, if the handler is a closure, which keeps what it mentions.
///
/// Any other expression may use the name while it is evaluated, which is before the body runs. A `move`
/// closure that mentions only a field of the name may keep a copy of that field.
pub(crate) fn kept(handler: &Expr, name: &Ident) -> Option<Span> {
    match handler {
        Expr::Closure(closure) => mention(closure, name),
        _ => None,
    }
}

/// Returns where the closure mentions the name, unless the closure has a variable of that name.
fn mention(closure: &ExprClosure, name: &Ident) -> Option<Span> {
    let copies_fields = closure.capture.is_some();
    let mut search =
        Search { name: name.unraw().to_string(), copies_fields, found: None, is_shadowed: false };
    search.visit_expr_closure(closure);
    search.found.filter(|_| !search.is_shadowed)
}

struct Search {
    name: String,
    /// Whether a field of the name does not count.
    copies_fields: bool,
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

    fn visit_expr_field(&mut self, field: &ExprField) {
        if !(self.copies_fields && matches!(*field.base, Expr::Path(_))) {
            visit::visit_expr_field(self, field);
        }
    }

    fn visit_pat_ident(&mut self, pat: &PatIdent) {
        self.is_shadowed |= self.is_name(&pat.ident);
        visit::visit_pat_ident(self, pat);
    }

    fn visit_macro(&mut self, mac: &Macro) {
        if self.found.is_none() {
            self.found = in_macro(&mac.tokens, &self.name, self.copies_fields);
        }
    }
}

/// Returns where the tokens of a macro call mention the name: as a variable, or in a format string.
fn in_macro(tokens: &TokenStream, name: &str, copies_fields: bool) -> Option<Span> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let is_dot = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(dot)) if dot.as_char() == '.');
    tokens.iter().enumerate().find_map(|(at, token)| match token {
        TokenTree::Ident(ident) if ident.unraw() == *name => {
            let is_field = at > 0 && is_dot(at - 1);
            let is_ignored = is_field || copies_fields && is_dot(at + 1);
            (!is_ignored).then(|| ident.span())
        }
        TokenTree::Group(group) => in_macro(&group.stream(), name, copies_fields),
        TokenTree::Literal(literal) if mentions(literal, name) => Some(literal.span()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use quote::format_ident;
    use syn::parse_quote;

    use super::*;

    fn is_kept(handler: &Expr) -> bool {
        kept(handler, &format_ident!("order")).is_some()
    }

    #[test]
    fn a_closure_keeps_the_variables_that_it_mentions() {
        assert!(is_kept(&parse_quote!(|e| Err(ApiError { id: order.id.clone(), source: e }))));
        assert!(is_kept(&parse_quote!(|e| Err(ApiError { order, source: e }))));
        assert!(is_kept(&parse_quote!(|e| bail!("{} {e}", order.id))));
        assert!(is_kept(&parse_quote!(|e| bail!("{order} {e}"))));
        assert!(is_kept(&parse_quote!(|e| if e.key() == order { 1 } else { 2 })));
        assert!(is_kept(&parse_quote!(move |e| Err((order.clone(), e)))));
    }

    #[test]
    fn fields_of_others_other_variables_and_other_expressions_are_not_kept() {
        assert!(!is_kept(&parse_quote!(|e| Err(ApiError { order: None, source: e }))));
        assert!(!is_kept(&parse_quote!(|e| bail!("{e:?}", e.order))));
        assert!(!is_kept(&parse_quote!(|order| Err(order))));
        assert!(!is_kept(&parse_quote!(handler(order.id))));
        assert!(!is_kept(&parse_quote!({
            let id = order.id.clone();
            move |e| (id, e)
        })));
        assert!(!is_kept(&parse_quote!(move |e| (order.id, e))));
        assert!(!is_kept(&parse_quote!(move |e| bail!("{} {e}", order.id))));
    }
}
