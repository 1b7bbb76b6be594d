//! Writes macros out that define items: `pin_project!`, and simple `macro_rules!` of the same module.

use std::collections::BTreeMap;

use proc_macro2::{Group, TokenStream, TokenTree};
use syn::{File, Item};

/// The `macro_rules!` of a module by their names.
pub type Rules = BTreeMap<String, TokenStream>;

/// Finds the `macro_rules!` among items.
#[must_use]
pub fn rules(items: &[Item]) -> Rules {
    let rule = |item: &Item| match item {
        Item::Macro(item) => Some((item.ident.as_ref()?.to_string(), item.mac.tokens.clone())),
        _ => None,
    };
    items.iter().filter_map(rule).collect()
}

/// The items that a macro's call defines. Any other item stays as it is, and so does a call that is not
/// understood.
#[must_use]
pub fn written_out(item: Item, rules: &Rules) -> Vec<Item> {
    let Item::Macro(call) = &item else { return vec![item] };
    let name = call.mac.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
    let tokens = match rules.get(&name) {
        // Its input is the struct, with a few attributes more.
        None if name == "pin_project" => Some(call.mac.tokens.clone()),
        None => None,
        Some(rule) => expand(rule.clone(), call.mac.tokens.clone()),
    };
    let file = tokens.and_then(|tokens| syn::parse2::<File>(tokens).ok());
    file.map_or_else(|| vec![item], |file| file.items)
}

/// Expands a macro of one rule, whose arguments are separated by commas and are not repeated.
fn expand(rule: TokenStream, call: TokenStream) -> Option<TokenStream> {
    let rule: Vec<_> = rule.into_iter().collect();
    let [TokenTree::Group(matcher), _, _, TokenTree::Group(body), end @ ..] = &*rule else { return None };
    if end.len() > 1 {
        return None;
    }
    let (names, values) = (at_commas(matcher.stream()), at_commas(call));
    let name = |tokens: &Vec<TokenTree>| match &**tokens {
        [TokenTree::Punct(_), TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Ident(_)] => {
            Some(name.to_string())
        }
        _ => None,
    };
    let names = names.iter().map(name).collect::<Option<Vec<_>>>()?;
    if names.len() != values.len() {
        return None;
    }
    Some(replace(body.stream(), &names.into_iter().zip(values).collect()))
}

fn at_commas(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let parts = tokens.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','));
    parts.filter(|part| !part.is_empty()).map(<[_]>::to_vec).collect()
}

fn replace(tokens: TokenStream, values: &BTreeMap<String, Vec<TokenTree>>) -> TokenStream {
    let mut written = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(dollar) if dollar.as_char() == '$' => {
                let value = tokens.peek().and_then(|name| values.get(&name.to_string()));
                if let Some(value) = value {
                    written.extend(value.iter().cloned());
                    tokens.next();
                } else {
                    written.push(TokenTree::Punct(dollar));
                }
            }
            TokenTree::Group(group) => {
                let inner = replace(group.stream(), values);
                written.push(TokenTree::Group(Group::new(group.delimiter(), inner)));
            }
            token => written.push(token),
        }
    }
    written.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    fn items(source: &str) -> Vec<String> {
        let items = syn::parse_file(source).unwrap().items;
        let rules = rules(&items);
        let written = items.into_iter().flat_map(|item| written_out(item, &rules));
        written.map(|item| item.to_token_stream().to_string()).filter(|text| !text.contains('!')).collect()
    }

    #[test]
    fn the_items_that_a_macro_defines_are_found() {
        let source = "macro_rules! m { ($a:ident, $b:ty) => { impl T for $a<$b> { type A = [$b]; } }; } \
                      m!(S, u8); pin_project! { struct P { #[pin] x: u8 } }";
        assert_eq!(items(source), ["impl T for S < u8 > { type A = [u8] ; }", "struct P { # [pin] x : u8 }"]);
    }

    #[test]
    fn a_macro_that_is_not_understood_stays() {
        assert_eq!(items("macro_rules! m { ($($a:ident),*) => { $(struct $a;)* } } m!(S); n!(T);"), [""; 0]);
    }
}
