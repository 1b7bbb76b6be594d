//! Locked functions with signatures, patterns and bodies of every shape.

use std::{cell::Cell, collections::BTreeMap, fmt::Display, future::Future, pin::Pin, rc::Rc};

use distlock::{LockError, distributed_lock};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The user who sent the request.
    pub user: User,
    /// The names and numbers of the items.
    pub items: Vec<(String, u32)>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's number.
    pub id: u64,
    name: String,
}

impl User {
    /// Makes a user.
    #[must_use]
    pub fn new(id: u64, name: &str) -> Self {
        Self { id, name: name.to_owned() }
    }

    /// Returns the user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

type Answer<T = ()> = Result<T, LockError>;

/// Fields, indices, method calls.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(
    key = "{request.user.id}/{request.user.name()}/{request.items[0].0}/{request.items.len():03}"
)]
pub async fn deep(request: &Request) -> Answer<u32> {
    tokio::task::yield_now().await;
    Ok(request.items.iter().map(|(_, number)| number).sum())
}

/// Nested patterns, references, `@`, slices, `mut`, `_`.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "{id}:{first}:{left}:{whole:?}")]
pub async fn patterns(
    User { id, name: _ }: User,
    [first, .., _last]: [u8; 4],
    (left, mut right): (u8, u8),
    &copied: &u8,
    whole @ (_, _): (i8, i8),
    _: String,
) -> Answer<u8> {
    tokio::task::yield_now().await;
    right += copied;
    Ok(right)
}

/// Arguments with the names that our expansion and its settings use.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "{key}{{{guard}}}{lock}-{ttl}-{e}-{result}")]
pub async fn our_names(key: u8, guard: u8, lock: u8, ttl: u8, e: u8, result: u8, body: u8) -> Answer<u8> {
    tokio::task::yield_now().await;
    Ok(key + guard + lock + ttl + e + result + body)
}

/// Raw identifiers.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "{type}:{r#match}")]
pub async fn r#loop(r#type: u8, r#match: &str) -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(r#match.len() + usize::from(r#type))
}

/// An argument that the body changes keeps its first value in the key.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "count:{n}", guard = lock)]
pub async fn changes(mut n: u32) -> Answer<(String, u32)> {
    n += 1;
    tokio::task::yield_now().await;
    Ok((lock.key().to_owned(), n))
}

/// A future that is not `Send`.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[allow(clippy::future_not_send, reason = "this function shows that the future need not be `Send`")]
#[distributed_lock(key = "rc:{name}")]
pub async fn local(name: Rc<str>, cell: Rc<Cell<u8>>) -> Answer<u8> {
    tokio::task::yield_now().await;
    cell.set(cell.get() + 1);
    Ok(cell.get())
}

/// Recursion.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "fib:{n}")]
pub async fn fibonacci(n: u8) -> Answer<u64> {
    if n < 2 {
        return Ok(u64::from(n));
    }
    let one = Box::pin(fibonacci(n - 1)).await?;
    Ok(one + Box::pin(fibonacci(n - 2)).await?)
}

/// Items, closures, macros and shadowing in the body.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "items:{input}")]
pub async fn items(input: &str) -> Answer<BTreeMap<usize, String>> {
    #![allow(clippy::items_after_statements, reason = "an inner attribute stays where it is")]
    macro_rules! twice {
        ($text:ident) => {
            format!("{}{}", $text, $text)
        };
    }
    tokio::task::yield_now().await;
    const fn length(text: &str) -> usize {
        text.len()
    }
    let input = twice!(input);
    let measure = |text: String| (length(&text), text);
    Ok(std::iter::once(input).map(measure).collect())
}

/// `impl Trait` as argument and as return type.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "impl:{label}")]
pub async fn both_ways(
    label: impl Display,
    numbers: impl Iterator<Item = u8>,
) -> Answer<impl Iterator<Item = u16>> {
    tokio::task::yield_now().await;
    Ok(numbers.map(u16::from).collect::<Vec<_>>().into_iter())
}

/// Returns a closure in a box.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "closure")]
pub async fn closure(by: u32) -> Answer<Box<dyn Fn(u32) -> u32 + Send>> {
    tokio::task::yield_now().await;
    Ok(Box::new(move |n| n * by))
}

/// A plain function that returns `impl Future`.
#[distributed_lock(key = "desugared:{id}")]
pub fn desugared(id: u64) -> impl Future<Output = Answer<u64>> + Send {
    async move {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// A plain function that returns a boxed future.
#[distributed_lock(key = "boxed:{id}")]
pub fn boxed<'a>(id: &'a str) -> Pin<Box<dyn Future<Output = Answer<&'a str>> + Send + 'a>> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        Ok(id)
    })
}

/// A function with restricted visibility, and with a key from an expression.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = key_of(user))]
pub(crate) async fn visible(user: &User) -> Answer {
    tokio::task::yield_now().await;
    Ok(())
}

/// Returns the key of `visible`.
#[must_use]
pub fn key_of(user: &User) -> String {
    format!("visible:{}", user.id)
}

/// Calls `visible`.
///
/// # Errors
/// The lock is not acquired, or it is lost.
pub async fn calls_visible() -> Answer {
    visible(&User::new(1, "ada")).await
}

macro_rules! locked_getters {
    ($($name:ident($($argument:ident: $of:ty),*) -> $answer:ty = $value:expr_2021;)*) => {
        $(
            /// Written by a macro.
            ///
            /// # Errors
            /// The lock is not acquired, or it is lost.
            #[distributed_lock(key = concat!("getter:", stringify!($name)))]
            pub async fn $name($($argument: $of),*) -> Answer<$answer> {
                tokio::task::yield_now().await;
                Ok($value)
            }
        )*
    };
}

locked_getters! {
    one() -> u8 = 1;
    sum(a: u8, b: u8) -> u8 = a + b;
}

/// Takes two locks. The body changes an argument.
///
/// # Errors
/// A lock is not acquired, or it is lost.
#[distributed_lock(key = "two:{name}")]
#[distributed_lock(key = "locks:{count}", guard = inner)]
pub async fn two_locks(mut count: u8, name: &str, #[cfg(any())] absent: u8) -> Answer<(String, u8)> {
    tokio::task::yield_now().await;
    count += 1;
    #[cfg(any())]
    drop(absent);
    Ok((inner.key().to_owned(), count))
}

macro_rules! with_body {
    ($name:ident, $future:ident, $body:block) => {
        /// Has a body that is written elsewhere.
        ///
        /// # Errors
        /// The lock is not acquired, or it is lost.
        #[distributed_lock(key = "block")]
        pub async fn $name() -> Answer<u8> $body

        /// Returns a future with a body that is written elsewhere.
        ///
        /// # Errors
        /// The lock is not acquired, or it is lost.
        #[distributed_lock(key = "future-block")]
        pub fn $future() -> impl Future<Output = Answer<u8>> + Send {
            async move $body
        }
    };
}

with_body!(block, future_block, {
    tokio::task::yield_now().await;
    Ok(1)
});

/// A desk, whose futures do not borrow it.
#[derive(Debug)]
pub struct Desk;

impl Desk {
    /// Returns a future as a service of tower does.
    #[distributed_lock(key = "desk:{id}")]
    pub fn call(&mut self, id: u64, _trace: &str) -> Pin<Box<dyn Future<Output = Answer<u64>> + Send>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(id)
        })
    }
}

/// The handler uses what the body uses up.
#[distributed_lock(key = "label:{label}", on_lost = finish, on_error = |error| format!("{label}: {error}"))]
pub async fn label(label: String) -> String {
    tokio::task::yield_now().await;
    label
}
