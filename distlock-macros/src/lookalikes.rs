//! Refuses text that only looks like a template: it names an argument and would be the same for every call.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    Error, Expr, Ident, LitStr, Macro, Result, Token, parse::Parser, punctuated::Punctuated, visit::Visit,
};

use crate::{
    args::Errors,
    bindings::{Bindings, mentions},
};

/// An argument's name in a text, as other notations write a value.
struct Lookalike {
    notation: Notation,
    /// The argument's name.
    name: String,
    /// The value as a hole would have it: `order.id`.
    value: String,
}

#[derive(Clone, Copy)]
enum Notation {
    /// `{order.id}`
    Braces,
    /// `#order.id`
    Hash,
    /// `$order.id`
    Dollar,
}

/// Returns a message for each argument that a template's text names as other notations write a value.
pub(crate) fn in_template(text: &str, bindings: &Bindings) -> Vec<String> {
    let message = |Lookalike { notation, value, .. }| match notation {
        Notation::Braces => format!(
            "`{{{{{value}}}}}` in the key template is the text `{{{value}}}`, the same in every call; \
             write `{{{value}}}` for the value, or `{{{{{{{value}}}}}}}` for the value in braces"
        ),
        Notation::Hash => in_text(&format!("#{value}"), &value),
        Notation::Dollar => in_text(&format!("${value}"), &value),
    };
    lookalikes(text, bindings).map(message).collect()
}

fn in_text(written: &str, value: &str) -> String {
    format!(
        "`{written}` in the key template is text, the same in every call; write `{{{value}}}` for the value"
    )
}

/// The message for a hole, with its braces, after a `$`.
pub(crate) fn after_dollar(braced: &str) -> String {
    format!(
        "`${braced}` in the key template has a `$` that would be part of the key; \
         write `{braced}`, or compute a key with a `$` in an expression: `key = format!(..)`"
    )
}

/// Checks the texts in a key expression. A text that names an argument is refused, unless the expression uses
/// this argument.
///
/// # Errors
/// All such texts, each at its place.
pub(crate) fn check_expression(key: &Expr, bindings: &Bindings) -> Result<()> {
    let mut found = Texts::default();
    found.visit_expr(key);
    let mut errors = Errors::default();
    for literal in &found.texts {
        for Lookalike { notation, name, value } in lookalikes(&literal.value(), bindings) {
            if mentions(&found.code, &name) {
                continue;
            }
            let written = match notation {
                Notation::Braces => format!("{{{value}}}"),
                Notation::Hash => format!("#{value}"),
                Notation::Dollar => format!("${value}"),
            };
            let message = format!(
                "`{written}` stays as it is in this text, the same in every call; \
                 write the whole key as one literal: `key = \"..{{{value}}}\"`"
            );
            errors.push(Error::new(literal.span(), message));
        }
    }
    errors.0.map_or(Ok(()), Err)
}

/// The texts of an expression that are not format strings, and its other code.
#[derive(Default)]
struct Texts {
    texts: Vec<LitStr>,
    code: TokenStream,
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.texts.push(text.clone());
    }

    fn visit_ident(&mut self, name: &'ast Ident) {
        name.to_tokens(&mut self.code);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let plain_from = match name.as_str() {
            "concat" | "concatcp" => 0,
            "format" | "format_args" => 1,
            // Another macro may take a format string.
            _ => usize::MAX,
        };
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(call.tokens.clone());
        match arguments {
            Ok(arguments) if plain_from != usize::MAX => {
                for (at, argument) in arguments.iter().enumerate() {
                    if at < plain_from {
                        argument.to_tokens(&mut self.code);
                    } else {
                        Visit::visit_expr(self, argument);
                    }
                }
            }
            _ => self.code.extend(call.tokens.clone()),
        }
    }
}

/// Finds the arguments' names in a text.
fn lookalikes<'a>(text: &'a str, bindings: &'a Bindings) -> impl Iterator<Item = Lookalike> + 'a {
    text.char_indices().filter_map(move |(at, sign)| {
        let after = &text[at + sign.len_utf8()..];
        let (notation, inside) = match sign {
            '{' => (Notation::Braces, after.split_once('}')?.0.trim()),
            '#' => (Notation::Hash, after),
            '$' => (Notation::Dollar, after),
            _ => return None,
        };
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let name = &inside[..inside.find(|c| !is_part(c)).unwrap_or(inside.len())];
        let value = match notation {
            Notation::Braces => inside,
            Notation::Hash | Notation::Dollar => {
                let end = inside.find(|c| !is_part(c) && c != '.').unwrap_or(inside.len());
                inside[..end].trim_end_matches('.')
            }
        };
        bindings.contains(name).then(|| Lookalike {
            notation,
            name: name.to_owned(),
            value: value.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(key: &str) -> bool {
        let bindings = Bindings::of_names(&["order_id", "order", "self"]);
        let key = syn::parse_str(key).expect("an expression");
        check_expression(&key, &bindings).is_err()
    }

    #[test]
    fn text_in_an_expression_that_only_looks_like_a_template_is_refused() {
        for key in [
            r#""order:{order_id}".to_string()"#,
            r#"String::from("order:{order_id:03}")"#,
            r#"concat!("order:", "{order_id}")"#,
            r#"&*concat!("order:", "{order.id}")"#,
            r#"("order:{order_id}")"#,
            r#"format!("{}:{}", TENANT, "{order_id}")"#,
            r#"format!("{}", concat!("{", "}", "{self.tenant}"))"#,
            r##"if full { "all" } else { "#order.id" }"##,
            r#""order:${order_id}".to_owned()"#,
        ] {
            assert!(is_refused(key), "{key}");
        }
    }

    #[test]
    fn format_strings_and_templates_of_the_users_own_are_left_alone() {
        for key in [
            r#"format!("order:{order_id}")"#,
            r#"std::format!("{tenant}:{}", "order")"#,
            r#"format_args!("{order_id:?}")"#,
            r#"my_key!("order:{order_id}")"#,
            r#""order:{order_id}".replace("{order_id}", &order_id.to_string())"#,
            r#"render("order:{order_id}", &[("order_id", order_id)])"#,
            r#""order:{other}".to_string()"#,
            "TEMPLATE",
        ] {
            assert!(!is_refused(key), "{key}");
        }
    }
}
