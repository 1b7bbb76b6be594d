//! Checks the arguments against every rule, and turns them into a model of the lock.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitBool, LitStr, Result, Type, ext::IdentExt, spanned::Spanned};

use crate::{
    args::{self, Args, Errors, word},
    bindings::Bindings,
    durations::{self, Length},
    function::{Function, Shape},
    handlers::refuse_value,
    lookalikes, nested,
    suggest::meant,
    template::{self, Piece},
};

/// What to lock and how. Every value in it has been checked.
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
    /// The path to the crate `distlock`.
    pub(crate) distlock: TokenStream,
}

pub(crate) enum Key {
    /// A template, and its literal.
    Template(Vec<Piece>, LitStr),
    /// An expression whose value is the key.
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
/// All mistakes, combined into one error.
pub(crate) fn check(tokens: TokenStream, function: &Function) -> Result<Model> {
    let bindings = Bindings::of(&function.signature, &function.patterns);
    let (args, error) = args::parse(tokens, &bindings);
    let mut errors = Errors(error);
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

    // If an argument could not be parsed, it may have been the key.
    if key.is_none() && errors.0.is_none() {
        errors.push(missing_key());
    }
    let key = key.and_then(|key| errors.take(check_key(key, &bindings)));
    let ttl = ttl.and_then(|ttl| errors.take(durations::parse("ttl", ttl)));
    let max_hold = max_hold.and_then(|hold| errors.take(durations::parse("max_hold", hold)));
    let at_least = at_least.and_then(|least| errors.take(durations::parse("at_least", least)));
    check_at_least(ttl.as_ref(), at_least.as_ref(), &mut errors);
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
        let message = "`fair` is `true` (waiters of all processes are served in the order of their arrival) \
             or `false` (a waiter in the holder's process may be served first, at most 16 times in a row)";
        errors.take(check_bool(fair, message))
    });
    if let Some(fair) = fair.as_ref().filter(|fair| is_false(fair)) {
        check_unfair(fair, waits, fenced, renew.as_ref(), &mut errors);
    }
    let on_busy = on_busy.and_then(|value| {
        errors
            .take(is_keyword("on_busy", "skip", &value))
            .map(|is_skip| if is_skip { OnBusy::Skip } else { OnBusy::Handler(value) })
    });
    let on_error = on_error.and_then(|value| {
        errors
            .take(is_keyword("on_error", "log", &value))
            .map(|is_log| if is_log { OnError::Log } else { OnError::Handler(value) })
    });
    let finish_when_lost = on_lost.and_then(|lost| errors.take(check_on_lost(&lost))).unwrap_or(false);
    let release_in_background = release.and_then(|value| errors.take(check_release(&value))).unwrap_or(false);
    if let Some(guard) = &guard {
        errors.take(check_guard(guard, &bindings, function));
    }
    if let (Some(Type::Never(never)), None) = (&function.output, &on_error) {
        let message = "a function that returns `!` cannot return the lock's errors; \
             return `Result<Infallible, E>` with `E: From<LockError>`";
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
        (None, None) => Err(missing_key()),
    }
}

/// Checks that nothing else in the function has the guard's name.
fn check_guard(guard: &Ident, bindings: &Bindings, function: &Function) -> Result<()> {
    let message = if bindings.contains(&guard.unraw().to_string()) {
        format!("`{guard}` is already an argument; give the lock another name: `guard = {guard}_lock`")
    } else if matches!(&function.shape, Shape::Locked(tokens) if nested::has_guard(tokens, guard)) {
        format!(
            "`{guard}` is already the guard of the attribute above; \
             give this lock another name: `guard = inner_{guard}`"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(guard.span(), message))
}

fn missing_key() -> Error {
    let message = "`key` is missing; write what is locked: `key = \"order:{order_id}\"` \
         (a key derived from the function's name would change when the function is renamed)";
    Error::new(Span::call_site(), message)
}

fn check_key(key: Expr, bindings: &Bindings) -> Result<Key> {
    match key {
        Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => {
            Ok(Key::Template(template::parse(&literal, bindings)?, literal))
        }
        Expr::Lit(literal) => Err(Error::new(
            literal.span(),
            "`key` takes text, `key = \"order:{order_id}\"`, or an expression whose value is `Display`",
        )),
        key => {
            refuse_parts(&key)?;
            lookalikes::check_expression(&key, bindings)?;
            Ok(Key::Computed(key))
        }
    }
}

/// Refuses the parts of a key where the key itself is taken.
fn refuse_parts(key: &Expr) -> Result<()> {
    let message = match key {
        Expr::Closure(_) => {
            "`key` takes the key, not a closure; the function's arguments are in scope, \
             so write the closure's value alone: `key = format!(..)`"
        }
        Expr::Tuple(_) | Expr::Array(_) => {
            "`key` takes one key; join its parts in a template: `key = \"{tenant}:{order_id}\"`"
        }
        Expr::Reference(reference) => return refuse_parts(&reference.expr),
        Expr::Paren(inner) => return refuse_parts(&inner.expr),
        _ => return Ok(()),
    };
    Err(Error::new_spanned(key, message))
}

/// Checks `at_least` against the ttl, if both are known at compile time.
fn check_at_least(ttl: Option<&Length>, at_least: Option<&Length>, errors: &mut Errors) {
    let known = |length: Option<&Length>| length.and_then(Length::known);
    if let (Some((ttl, _)), Some((least, span))) = (known(ttl), known(at_least))
        && least > ttl
    {
        let message = format!(
            "`at_least` ({least:?}) is longer than `ttl` ({ttl:?}), \
             but a lease that is no longer renewed ends after its ttl; write a longer `ttl`"
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

/// Checks that `fair = false` can have an effect: a waiter takes a held lease over as it is.
fn check_unfair(fair: &Expr, waits: bool, fenced: bool, renew: Option<&Expr>, errors: &mut Errors) {
    let why = if !waits {
        "without `wait`, because the call never waits; add `wait = \"2s\"`, or leave `fair` out"
    } else if fenced {
        "with `fenced`, because each holder needs its own fencing token from the store; \
         leave one of the two out"
    } else if renew.is_some_and(is_false) {
        "with `renew = false`, because the next holder would get only the rest of a lease; \
         leave one of the two out"
    } else {
        return;
    };
    errors.push(Error::new(fair.span(), format!("`fair = false` has no effect {why}")));
}

fn is_false(value: &Expr) -> bool {
    matches!(value, Expr::Lit(ExprLit { lit: Lit::Bool(LitBool { value: false, .. }), .. }))
}

/// Whether the value of `on_busy` or `on_error` is the argument's keyword. Otherwise it is a handler.
fn is_keyword(name: &str, keyword: &str, value: &Expr) -> Result<bool> {
    // Words that are written by mistake for a keyword. A handler that really has such a name is very
    // unlikely.
    const OTHERS: [&str; 6] = ["skip", "log", "error", "ignore", "cancel", "finish"];
    let takes = format!(
        "`{name}` takes `{keyword}`, or a path or closure from `LockError` to the function's return value"
    );
    refuse_value(name, keyword, &takes, value)?;
    match word(value) {
        Some((word, _)) if word == keyword => Ok(true),
        Some((word, span)) if OTHERS.contains(&word.as_str()) => {
            Err(Error::new(span, format!("`{word}` is not a value of `{name}`; {takes}")))
        }
        _ => Ok(false),
    }
}

/// Whether `on_lost` is `finish`.
fn check_on_lost(value: &Expr) -> Result<bool> {
    let written = word(value).map(|(word, _)| word);
    let message = "`on_lost` is `cancel` (stop the body) or `finish` (let it run to its end)";
    is_second(written, ["cancel", "finish"], value, message)
}

/// Whether `release` is `"background"`.
fn check_release(value: &Expr) -> Result<bool> {
    let written = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        other => word(other).map(|(word, _)| word),
    };
    let message = "`release` is `\"confirmed\"` (return when the key is free) \
         or `\"background\"` (return when the body has ended)";
    is_second(written, ["confirmed", "background"], value, message)
}

/// Whether the second of two words was written.
///
/// # Errors
/// Neither word was written.
fn is_second(written: Option<String>, words: [&str; 2], value: &Expr, message: &str) -> Result<bool> {
    if let Some(at) = words.iter().position(|word| written.as_deref() == Some(word)) {
        return Ok(at == 1);
    }
    let hint = written.and_then(|written| meant(&written, &words));
    let hint = hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"));
    Err(Error::new(value.span(), format!("{message}{hint}")))
}
