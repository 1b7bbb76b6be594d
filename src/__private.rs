//! The functions and types that the attribute's expansion uses. They are not part of the public interface,
//! and may change in any version.

use std::{
    fmt::{self, Write},
    future,
    time::Duration,
};

use distlock_core::{
    __private::{current_manager, function_not_run, function_skipped, function_stopped},
    LockError, LockManager, LockRequest, OnLost, Release,
};

pub use core::{
    option::Option::{self, None, Some},
    result::Result::{self, Err, Ok},
};
/// The guard, by the name that marks a body in the tokens of a locked function.
pub use distlock_core::LockGuard as LockAroundBody;
pub use distlock_core::{__private::HasManager, LockGuard};

/// A lock request, or the error that there is no manager to ask.
pub struct Request(Result<LockRequest, LockError>);

impl Request {
    /// Makes a request of the given manager, or of the current one if none is given.
    #[must_use]
    pub fn new(manager: Option<LockManager>, key: String, template: &'static str) -> Self {
        let lock = |manager: LockManager, key| manager.lock(key).template(template);
        Self(match manager {
            Some(manager) => Ok(lock(manager, key)),
            None => current_manager(&key).map(|manager| lock(manager, key)),
        })
    }

    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self(self.0.map(|request| request.ttl(ttl)))
    }

    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self(self.0.map(|request| request.wait(wait)))
    }

    #[must_use]
    pub fn wait_forever(self) -> Self {
        Self(self.0.map(LockRequest::wait_forever))
    }

    #[must_use]
    pub fn renew(self, renew: bool) -> Self {
        Self(self.0.map(|request| request.renew(renew)))
    }

    #[must_use]
    pub fn fair(self, fair: bool) -> Self {
        Self(self.0.map(|request| request.fair(fair)))
    }

    #[must_use]
    pub fn max_hold(self, max_hold: Duration) -> Self {
        Self(self.0.map(|request| request.max_hold(max_hold)))
    }

    #[must_use]
    pub fn at_least(self, at_least: Duration) -> Self {
        Self(self.0.map(|request| request.at_least(at_least)))
    }

    #[must_use]
    pub fn fenced(self) -> Self {
        Self(self.0.map(LockRequest::fenced))
    }

    #[must_use]
    pub fn on_lost(self, on_lost: OnLost) -> Self {
        Self(self.0.map(|request| request.on_lost(on_lost)))
    }

    #[must_use]
    pub fn release(self, release: Release) -> Self {
        Self(self.0.map(|request| request.release(release)))
    }

    pub async fn acquire(self) -> Result<LockGuard, LockError> {
        self.0?.acquire().await
    }
}

/// Renders a key that is given as an expression. It is taken as it is.
#[must_use]
pub fn key(key: fmt::Arguments<'_>) -> String {
    fmt::format(key)
}

/// Renders a key from the text and the values of a template.
#[derive(Default)]
pub struct KeyBuilder(String);

impl KeyBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Appends a value, and percent-encodes in it `%`, `{`, `}` and `follower`, the character after the hole
    /// in the template. So values cannot run into each other.
    ///
    /// If `follower` is `%`, the encoding begins with `~`. Otherwise the template's `%` and a value `25`
    /// after it would be equal to an encoded `%`.
    pub fn hole(&mut self, value: fmt::Arguments<'_>, follower: Option<char>) {
        // Writing to a string cannot fail. If the value's own `Display` fails, the key has what it printed
        // until then.
        let _ = Encode { key: &mut self.0, follower }.write_fmt(value);
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

/// Writes to the key, and encodes the special characters.
struct Encode<'a> {
    key: &'a mut String,
    follower: Option<char>,
}

impl Write for Encode<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let sign = if self.follower == Some('%') { '~' } else { '%' };
        let special = |c: char| c == sign || matches!(c, '%' | '{' | '}') || Some(c) == self.follower;
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            let (plain, from) = rest.split_at(at);
            self.key.push_str(plain);
            let len = from.chars().next().map_or(0, char::len_utf8);
            for byte in &from.as_bytes()[..len] {
                write!(self.key, "{sign}{byte:02X}")?;
            }
            rest = &from[len..];
        }
        self.key.push_str(rest);
        Ok(())
    }
}

/// Whether `on_busy` answers the error, because another holder has the key. Reports the call that is skipped.
pub fn skips(error: &LockError, template: &'static str) -> bool {
    let is_busy = matches!(error, LockError::Busy { .. });
    if is_busy {
        function_skipped(error, template);
    }
    is_busy
}

/// A return type that can carry every `LockError`.
#[diagnostic::on_unimplemented(
    message = "a locked function must be able to return the lock's errors, and `{Self}` cannot carry them",
    label = "cannot be made from a `LockError`",
    note = "return `Result<T, E>` with `E: From<distlock::LockError>`; \
            or add `on_error = log` (for `()`, `Option<T>`, `Result<(), E>`, `Result<Option<T>, E>`); \
            or add `on_error = handler`, a path or closure from `LockError` to the return value"
)]
pub trait FromLockError: Sized {
    fn from_lock_error(error: LockError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<LockError>> FromLockError for Result<T, E> {
    fn from_lock_error(error: LockError) -> Self {
        Err(error.into())
    }
}

/// A return type with a value that means "not done".
#[diagnostic::on_unimplemented(
    message = "`skip` and `log` need a return type with a value that means \"not done\", and `{Self}` has none",
    label = "has no value for a call that was skipped",
    note = "return `()`, `Option<T>`, `Result<(), E>` or `Result<Option<T>, E>`; \
            or give a handler instead, a path or closure from `LockError` to the return value"
)]
pub trait Skip: Sized {
    fn skipped() -> Self;

    /// Reports the error by `tracing`, and returns the value of a skipped call.
    #[must_use]
    fn logged(error: LockError) -> Self {
        function_not_run(&error);
        Self::skipped()
    }
}

#[diagnostic::do_not_recommend]
impl Skip for () {
    fn skipped() -> Self {}
}

#[diagnostic::do_not_recommend]
impl<T> Skip for Option<T> {
    fn skipped() -> Self {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<E> Skip for Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<T, E> Skip for Result<Option<T>, E> {
    fn skipped() -> Self {
        Ok(None)
    }
}

/// A return type for `on_busy = skip` alone: it has a value that means "not done", and can carry the errors
/// that `skip` does not cover.
#[diagnostic::on_unimplemented(
    message = "`on_busy = skip` needs a return type that can say \"not done\" and can carry the lock's other errors, \
               and `{Self}` cannot do both",
    label = "cannot be both a skipped call and an error",
    note = "`skip` covers a busy key only: return `Result<(), E>` or `Result<Option<T>, E>` with \
            `E: From<distlock::LockError>`; or add `on_error = log` (for `()`, `Option<T>`, and these two); \
            or give handlers instead, paths or closures from `LockError` to the return value"
)]
pub trait SkipBusy: Sized {
    fn skipped() -> Self;

    fn from_lock_error(error: LockError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<LockError>> SkipBusy for Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }

    fn from_lock_error(error: LockError) -> Self {
        Err(error.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: From<LockError>> SkipBusy for Result<Option<T>, E> {
    fn skipped() -> Self {
        Ok(None)
    }

    fn from_lock_error(error: LockError) -> Self {
        Err(error.into())
    }
}

/// Returns the handler. The call gives a closure's argument its type.
pub fn handler<R, H: FnOnce(LockError) -> R>(handler: H) -> H {
    handler
}

/// Calls a handler. The call gives a closure's argument its type.
pub fn handle<R>(handler: impl FnOnce(LockError) -> R, error: LockError) -> R {
    handler(error)
}

/// An argument that a handler of `on_error` may borrow although the body uses it too, because its value is
/// copied into the body.
#[diagnostic::on_unimplemented(
    message = "`on_error` also answers a lost lease, and by then the body has used up this argument",
    label = "this `{Self}` is moved into the body",
    note = "keep what the handler needs: `on_error = {{ let id = order.id.clone(); move |error| .. }}`; \
            a handler of `on_busy` may use the argument as it is"
)]
pub trait OutlivesBody {
    fn check(&self) {}
}

#[diagnostic::do_not_recommend]
impl<T: Copy> OutlivesBody for T {}

/// Is never called: a body that runs to its end is not stopped when its lease is lost.
pub async fn never_lost<R>(error: LockError) -> R {
    function_stopped(&error);
    future::pending().await
}

/// Is never called. The call, in a branch that is never taken, gives an async block its type.
#[must_use]
pub fn fake<R>() -> R {
    // This never runs. Any expression of type `R` would do; this one does not panic.
    loop {
        std::thread::park();
    }
}
