//! Parses the attribute's arguments: `name = value` pairs and the flag `fenced`, each at most once.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{
    Error, Expr, ExprLit, Ident, Lit, LitInt, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
};

use crate::{bindings::Bindings, suggest::meant};

const NAMES: &[&str] = &[
    "key", "ttl", "wait", "renew", "max_hold", "at_least", "on_busy", "on_error", "on_lost", "release",
    "fair", "fenced", "guard", "locks", "crate",
];

/// The arguments as they were written. Only their syntax has been checked; `model` checks the rest.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) key: Option<Expr>,
    pub(crate) ttl: Option<Expr>,
    pub(crate) wait: Option<Expr>,
    pub(crate) renew: Option<Expr>,
    pub(crate) max_hold: Option<Expr>,
    pub(crate) at_least: Option<Expr>,
    pub(crate) on_busy: Option<Expr>,
    pub(crate) on_error: Option<Expr>,
    pub(crate) on_lost: Option<Expr>,
    pub(crate) release: Option<Expr>,
    pub(crate) fair: Option<Expr>,
    pub(crate) fenced: bool,
    pub(crate) guard: Option<Ident>,
    pub(crate) locks: Option<Expr>,
    /// The value of `crate`.
    pub(crate) distlock: Option<Path>,
}

/// Parses all arguments of an attribute on a function with these bindings. Returns the ones that could be
/// parsed, and all mistakes combined into one error.
pub(crate) fn parse(tokens: TokenStream, bindings: &Bindings) -> (Args, Option<Error>) {
    let mut errors = Errors::default();
    let mut args = Args::default();
    let parsed = (|input: ParseStream| {
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            if let Err(error) = argument(input, bindings, &mut args, &mut seen, &mut errors) {
                errors.push(error);
                skip_to_comma(input);
            }
            if !input.is_empty() {
                let comma: Result<Token![,]> = input.parse();
                if let Err(error) = comma {
                    let message = if input.peek(Token![:]) {
                        "expected `,` between two arguments; a key template needs quotes: \
                         `key = \"order:{order_id}\"`"
                    } else {
                        "expected `,` between two arguments"
                    };
                    errors.push(Error::new(error.span(), message));
                    skip_to_comma(input);
                    let _: Option<Token![,]> = input.parse()?;
                }
            }
        }
        Ok(())
    })
    .parse2(tokens);
    if let Err(error) = parsed {
        errors.push(error);
    }
    (args, errors.0)
}

/// The mistakes found so far, combined into one error.
#[derive(Default)]
pub(crate) struct Errors(pub(crate) Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// Returns the value of a result, or records its error and returns `None`.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}

/// Parses one argument, up to the comma or the end.
fn argument(
    input: ParseStream,
    bindings: &Bindings,
    args: &mut Args,
    seen: &mut Vec<String>,
    errors: &mut Errors,
) -> Result<()> {
    if input.peek(syn::Lit) {
        let message =
            "every argument has a name; write `key = \"..\"` for the key, `ttl = 30` for the time to live";
        return Err(Error::new(input.span(), message));
    }
    if !input.peek(Ident::peek_any) {
        return Err(Error::new(input.span(), format!("expected an argument: one of {}", all_names())));
    }
    let name = Ident::parse_any(input)?;
    let text = name.to_string();
    if !NAMES.contains(&text.as_str()) {
        if !input.peek(Token![=]) && bindings.contains(&name.unraw().to_string()) {
            return Err(Error::new(name.span(), value_outside_the_template(input, &name)));
        }
        let hint = match meant(&text, NAMES) {
            Some(ours) => format!("did you mean `{ours}`?"),
            None => format!("the arguments are {}", all_names()),
        };
        return Err(Error::new(name.span(), format!("unknown argument `{text}`; {hint}")));
    }
    if seen.contains(&text) {
        errors.push(Error::new(name.span(), format!("`{text}` is given twice; keep one of the two")));
    }
    seen.push(text.clone());
    if text == "fenced" {
        if input.peek(Token![=]) {
            return Err(Error::new(input.span(), "`fenced` is a flag; write it alone, or leave it out"));
        }
        args.fenced = true;
        return Ok(());
    }
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{text}` takes a value: write `{}`", example(&text))));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(name.span(), format!("`{text}` has no value: write `{}`", example(&text))));
    }
    match text.as_str() {
        "guard" => args.guard = Some(guard_name(input)?),
        "crate" => args.distlock = Some(crate_path(input)?),
        _ => {
            let value = value(input, &text)?;
            let field = match text.as_str() {
                "key" => &mut args.key,
                "ttl" => &mut args.ttl,
                "wait" => &mut args.wait,
                "renew" => &mut args.renew,
                "max_hold" => &mut args.max_hold,
                "at_least" => &mut args.at_least,
                "on_busy" => &mut args.on_busy,
                "on_error" => &mut args.on_error,
                "on_lost" => &mut args.on_lost,
                "release" => &mut args.release,
                "fair" => &mut args.fair,
                _ => &mut args.locks,
            };
            *field = Some(value);
        }
    }
    Ok(())
}

/// The message for a value that follows the template, as it would in `format!`. The input is behind the first
/// name of the value.
fn value_outside_the_template(input: ParseStream, name: &Ident) -> String {
    let mut value = name.to_string();
    let rest = input.fork();
    while !rest.is_empty() && !rest.peek(Token![,]) {
        let Ok(token) = rest.parse::<proc_macro2::TokenTree>() else { break };
        value.push_str(&token.to_string());
    }
    format!("a value stands in the key template, and not behind it; write `{{{value}}}` in the template")
}

fn value(input: ParseStream, name: &str) -> Result<Expr> {
    let start = input.span();
    let value = input.parse::<Expr>().map(ungroup).map_err(|_| {
        Error::new(start, format!("the value of `{name}` is not an expression: write `{}`", example(name)))
    })?;
    // `ttl = 1m 30s`
    if let Expr::Lit(ExprLit { lit: Lit::Int(first), .. }) = &value
        && !first.suffix().is_empty()
        && input.peek(LitInt)
    {
        let mut text = first.to_string();
        while input.peek(LitInt) {
            text = format!("{text} {}", input.parse::<LitInt>()?);
        }
        let message = format!("a duration with units needs quotes: write `{name} = \"{text}\"`");
        return Err(Error::new(start, message));
    }
    Ok(value)
}

/// Removes the invisible group that a `macro_rules!` fragment puts around a value, so that a key template in
/// it is still recognised.
fn ungroup(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => ungroup(*group.expr),
        value => value,
    }
}

fn guard_name(input: ParseStream) -> Result<Ident> {
    input.call(Ident::parse).map_err(|error| {
        Error::new(
            error.span(),
            "`guard` takes a name, by which the body can use the held lock: write `guard = lock`",
        )
    })
}

/// Parses the path to distlock. It may also be written as a string, as in serde's attributes.
fn crate_path(input: ParseStream) -> Result<Path> {
    if input.peek(syn::LitStr) {
        return input.parse::<syn::LitStr>()?.parse_with(Path::parse_mod_style);
    }
    Path::parse_mod_style(input).map_err(|error| {
        Error::new(error.span(), "`crate` takes the path to distlock: write `crate = ::my_crate::distlock`")
    })
}

/// Skips the rest of an argument that could not be parsed, so that the next one is still checked.
fn skip_to_comma(input: ParseStream) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let skipped: Result<proc_macro2::TokenTree> = input.parse();
        if skipped.is_err() {
            return;
        }
    }
}

/// An example of the argument, for messages.
fn example(name: &str) -> &'static str {
    match name {
        "key" => "key = \"order:{order_id}\"",
        "ttl" => "ttl = 30",
        "wait" => "wait = \"2s\"",
        "renew" => "renew = false",
        "max_hold" => "max_hold = \"5m\"",
        "at_least" => "at_least = \"10s\"",
        "on_busy" => "on_busy = skip",
        "on_error" => "on_error = log",
        "on_lost" => "on_lost = finish",
        "release" => "release = \"background\"",
        "fair" => "fair = false",
        "guard" => "guard = lock",
        "locks" => "locks = self.locks",
        _ => "crate = ::distlock",
    }
}

/// The names of all arguments, for messages.
fn all_names() -> String {
    NAMES.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the identifier and its span if the expression is a single identifier.
pub(crate) fn word(expr: &Expr) -> Option<(String, Span)> {
    let Expr::Path(path) = expr else { return None };
    let ident = path.path.get_ident()?;
    (path.attrs.is_empty() && path.qself.is_none())
        .then(|| (ident.to_token_stream().to_string(), ident.span()))
}

/// Parses an expression and nothing after it.
pub(crate) fn whole_expr(tokens: TokenStream) -> Result<Expr> {
    Expr::parse.parse2(tokens)
}

#[cfg(test)]
mod tests {
    use super::NAMES;

    #[test]
    fn every_argument_has_a_row_in_the_documentation() {
        let documentation = include_str!("../attribute.md");
        let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), NAMES);
    }
}
