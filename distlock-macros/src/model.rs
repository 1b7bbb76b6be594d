//! Every rule that the arguments have to keep, and what they mean.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitBool, Result, Type, ext::IdentExt, spanned::Spanned};

use crate::{
    args::{self, Args, Errors, word},
    bindings::Bindings,
    durations::{self, Length},
    function::Function,
    suggest::meant,
    template::{self, Piece},
};

/// What to lock, and how: nothing in it can be wrong any more.
pub(crate) struct Model {
    pub(crate) key: Key,
    pub(crate) ttl: Option<Length>,
    pub(crate) wait: Option<Wait>,
    pub(crate) renew: Option<Expr>,
    pub(crate) fair: Option<Expr>,
    pub(crate) max_hold: Option<Length>,
    pub(crate) at_least: Option<Length>,
    pub(crate) on_busy: Option<OnBusy>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) finish_when_lost: bool,
    pub(crate) release_in_background: bool,
    pub(crate) fenced: bool,
    pub(crate) guard: Option<Ident>,
    pub(crate) locks: Option<Expr>,
    /// The path to the facade.
    pub(crate) distlock: TokenStream,
}

pub(crate) enum Key {
    Template(Vec<Piece>, Span),
    Computed(Expr),
}

pub(crate) enum Wait {
    For(Length),
    Forever,
}

pub(crate) enum OnBusy {
    Skip,
    Handler(Expr),
}

pub(crate) enum OnError {
    Log,
    Handler(Expr),
}

/// Checks all arguments against the rules and the function.
///
/// # Errors
/// All mistakes at once.
pub(crate) fn check(tokens: TokenStream, function: &Function) -> Result<Model> {
    let nothing_written = tokens.is_empty();
    let (args, error) = args::parse(tokens);
    let mut errors = Errors(error);
    let bindings = Bindings::of(&function.signature);
    let Args {
        key,
        ttl,
        wait,
        renew,
        max_hold,
        at_least,
        on_busy,
        on_error,
        on_lost,
        release,
        fair,
        fenced,
        guard,
        locks,
        distlock,
    } = args;

    if key.is_none() && (errors.0.is_none() || nothing_written) {
        let message = "no key: write what is locked, `key = \"order:{order_id}\"`; one derived from the function's name would change when the function is renamed";
        errors.push(Error::new(Span::call_site(), message));
    }
    let key = key.and_then(|key| errors.take(check_key(key, &bindings)));
    let ttl = ttl.and_then(|ttl| errors.take(durations::parse("ttl", ttl)));
    let max_hold = max_hold.and_then(|hold| errors.take(durations::parse("max_hold", hold)));
    let at_least = at_least.and_then(|least| errors.take(durations::parse("at_least", least)));
    check_lengths(ttl.as_ref(), max_hold.as_ref(), at_least.as_ref(), &mut errors);
    let waits = wait.is_some();
    let wait = wait.and_then(|wait| match word(&wait) {
        Some((word, _)) if word == "forever" => Some(Wait::Forever),
        _ => errors.take(durations::parse("wait", wait)).map(Wait::For),
    });
    let renew = renew.and_then(|renew| {
        let message = "`renew` is `true` or `false`; the interval is always a third of the ttl";
        errors.take(check_bool(renew, message))
    });
    let fair = fair.and_then(|fair| {
        let message = "`fair` is `true` (who came first, in whatever process) or `false` (waiters beside the holder first, up to 16 times in a row)";
        errors.take(check_bool(fair, message))
    });
    if let Some(fair) = fair.as_ref().filter(|fair| is_false(fair)) {
        check_unfair(fair, waits, fenced, renew.as_ref(), &mut errors);
    }
    let on_busy = on_busy.and_then(|value| {
        errors
            .take(handler("on_busy", "skip", &value))
            .map(|is_word| if is_word { OnBusy::Skip } else { OnBusy::Handler(value) })
    });
    let on_error = on_error.and_then(|value| {
        errors
            .take(handler("on_error", "log", &value))
            .map(|is_word| if is_word { OnError::Log } else { OnError::Handler(value) })
    });
    let finish_when_lost = on_lost.and_then(|lost| errors.take(check_on_lost(&lost))).unwrap_or(false);
    let release_in_background = release.and_then(|value| errors.take(check_release(&value))).unwrap_or(false);
    if let Some(guard) = &guard
        && bindings.contains(&guard.unraw().to_string())
    {
        let message =
            format!("`{guard}` is an argument already; give the lock another name: `guard = {guard}_lock`");
        errors.push(Error::new(guard.span(), message));
    }
    if let (Some(Type::Never(never)), None) = (&function.output, &on_error) {
        let message = "a function that returns `!` has no way to return the lock's errors; return `Result<Infallible, E>` with `E: From<LockError>`";
        errors.push(Error::new(never.span(), message));
    }
    match (errors.0, key) {
        (None, Some(key)) => Ok(Model {
            key,
            ttl,
            wait,
            renew,
            fair,
            max_hold,
            at_least,
            on_busy,
            on_error,
            finish_when_lost,
            release_in_background,
            fenced,
            guard,
            locks,
            distlock: distlock.map_or_else(|| quote!(::distlock), |path| quote!(#path)),
        }),
        (Some(error), _) => Err(error),
        (None, None) => Err(Error::new(Span::call_site(), "no key: write `key = \"order:{order_id}\"`")),
    }
}

fn check_key(key: Expr, bindings: &Bindings) -> Result<Key> {
    match key {
        Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => {
            Ok(Key::Template(template::parse(&literal, bindings)?, literal.span()))
        }
        Expr::Lit(literal) => Err(Error::new(
            literal.span(),
            "the key is text: write `key = \"order:{order_id}\"`, or an expression whose value is `Display`",
        )),
        key => Ok(Key::Computed(key)),
    }
}

fn check_lengths(
    ttl: Option<&Length>,
    max_hold: Option<&Length>,
    at_least: Option<&Length>,
    errors: &mut Errors,
) {
    let known = |length: Option<&Length>| length.and_then(Length::known);
    let ttl = known(ttl);
    if let Some((length, span)) = ttl.filter(|(length, _)| length.is_zero()) {
        let _ = length;
        errors.push(Error::new(span, "`ttl = 0` would end the lease before the body begins; write how long a crashed holder may block others: `ttl = 30`"));
    }
    if let Some((_, span)) = known(max_hold).filter(|(length, _)| length.is_zero()) {
        errors.push(Error::new(
            span,
            "`max_hold = 0` would never let the body run; write how long it may take, or leave it out",
        ));
    }
    if let (Some((ttl, _)), Some((least, span))) = (ttl, known(at_least))
        && least > ttl
        && !ttl.is_zero()
    {
        let message = format!(
            "`at_least` ({least:?}) is above `ttl` ({ttl:?}), after which the lease ends anyway; raise the ttl"
        );
        errors.push(Error::new(span, message));
    }
}

fn check_bool(value: Expr, message: &str) -> Result<Expr> {
    match &value {
        Expr::Lit(ExprLit { lit: Lit::Bool(_), .. }) => Ok(value),
        _ => Err(Error::new(value.span(), message)),
    }
}

/// Who is not fair takes over a lease as it is.
fn check_unfair(fair: &Expr, waits: bool, fenced: bool, renew: Option<&Expr>, errors: &mut Errors) {
    let why = if !waits {
        "without `wait`: nobody stands in line; add `wait = \"2s\"`, or leave `fair` out"
    } else if fenced {
        "with `fenced`: each holder needs a fencing token of its own, from the store; leave one of the two out"
    } else if renew.is_some_and(is_false) {
        "with `renew = false`: what is left of a lease would have to do; leave one of the two out"
    } else {
        return;
    };
    errors.push(Error::new(fair.span(), format!("`fair = false` does nothing {why}")));
}

fn is_false(value: &Expr) -> bool {
    matches!(value, Expr::Lit(ExprLit { lit: Lit::Bool(LitBool { value: false, .. }), .. }))
}

/// Whether the handler is the argument's own word.
fn handler(name: &str, own: &str, value: &Expr) -> Result<bool> {
    match value {
        Expr::Lit(literal) => {
            let message = format!(
                "`{name}` takes `{own}`, or a path or closure from `LockError` to the function's return value"
            );
            Err(Error::new(literal.span(), message))
        }
        _ => match word(value) {
            Some((word, _)) if word == own => Ok(true),
            // A function of that name would be a strange accident.
            Some((word, span))
                if ["skip", "log", "error", "ignore", "cancel", "finish"].contains(&word.as_str()) =>
            {
                let message = format!(
                    "`{name}` does not know `{word}`; it takes `{own}`, or a path or closure from `LockError` to the function's return value"
                );
                Err(Error::new(span, message))
            }
            _ => Ok(false),
        },
    }
}

fn check_on_lost(value: &Expr) -> Result<bool> {
    let word = word(value).map(|(word, _)| word);
    one_of(
        word,
        ["cancel", "finish"],
        value,
        "`on_lost` is `cancel` (stop the body) or `finish` (let it end)",
    )
}

fn check_release(value: &Expr) -> Result<bool> {
    let text = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        other => word(other).map(|(word, _)| word),
    };
    let message = "`release` is `\"confirmed\"` (wait until the key is free) or `\"background\"` (return when the body has ended)";
    one_of(text, ["confirmed", "background"], value, message)
}

/// Whether it is the second of two words.
fn one_of(word: Option<String>, words: [&str; 2], value: &Expr, message: &str) -> Result<bool> {
    if let Some(at) = words.iter().position(|one| word.as_deref() == Some(one)) {
        return Ok(at == 1);
    }
    let hint = word.and_then(|word| meant(&word, &words));
    let hint = hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"));
    Err(Error::new(value.span(), format!("{message}{hint}")))
}
