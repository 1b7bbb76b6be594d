//! Makes rustc complain in the key about a key that moves an argument, and not at the end of the attribute.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned};

use crate::{
    bindings::{Binding, bound_names, conditions, mentions},
    function::Function,
    hygiene::at,
    model::Key,
    template::Piece,
};

/// Returns statements that come after the key was rendered, and borrow each argument that the key mentions.
/// If the key has moved the argument, rustc's message is about these statements, and its place is the key.
pub(crate) fn borrow_again(key: &Key, function: &Function) -> TokenStream {
    let (tokens, place) = match key {
        Key::Computed(expr) => (expr.to_token_stream(), expr.span()),
        Key::Template(pieces, literal) => {
            let values = pieces.iter().filter_map(|piece| match piece {
                Piece::Hole(hole) => Some(hole.value.clone()),
                Piece::Text(_) => None,
            });
            (values.collect(), literal.span())
        }
    };
    let receiver = function.signature.receiver().map(|receiver| {
        let this = Ident::new("self", receiver.self_token.span);
        (this, conditions(&receiver.attrs))
    });
    let arguments = bound_names(&function.signature, &function.patterns).into_iter();
    arguments
        .map(|Binding { ident, conditions, .. }| (ident, conditions))
        .chain(receiver)
        .filter(|(name, _)| uses(tokens.clone(), &name.unraw().to_string()))
        .map(|(mut name, conditions)| {
            name.set_span(place.resolved_at(name.span()));
            quote_spanned!(at(place)=> #(#conditions)* let _ = &#name;)
        })
        .collect()
}

/// Whether the tokens use a variable of this name. A field or a method after a dot is none.
fn uses(tokens: TokenStream, name: &str) -> bool {
    let mut after_dot = false;
    tokens.into_iter().any(|token| {
        let is_name = !after_dot && mentions(&token, name);
        after_dot = matches!(&token, TokenTree::Punct(dot) if dot.as_char() == '.');
        match token {
            TokenTree::Group(group) => uses(group.stream(), name),
            _ => is_name,
        }
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::uses;

    #[test]
    fn fields_and_methods_are_not_variables() {
        assert!(uses(quote!(order.into_id()), "order"));
        assert!(uses(quote!(format!("{order}")), "order"));
        assert!(uses(quote!(ids[..id]), "ids"));
        assert!(!uses(quote!(order.id(x.id)), "id"));
    }
}
