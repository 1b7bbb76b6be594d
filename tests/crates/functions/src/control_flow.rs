//! Bodies with every kind of control flow, and functions that macros write.

use std::{convert::Infallible, time::Duration};

use distlock::{LockError, distributed_lock};

type Answer<T = ()> = Result<T, LockError>;

/// Labels with values, `let else`, `let` chains, items in the middle, and returns from everywhere.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[allow(clippy::items_after_statements, reason = "items may stand in the middle of a body")]
#[distributed_lock(key = "flow:{n}")]
pub async fn flow(n: u32) -> Answer<&'static str> {
    if n == 0 {
        return Ok("zero");
    }
    let found = 'outer: loop {
        for i in 0.. {
            if i == n {
                break 'outer i;
            }
            tokio::task::yield_now().await;
        }
    };
    let label = 'label: {
        if found == 1 {
            break 'label "one";
        }
        "many"
    };
    let (Some(()), 1..=9) = (Some(()), n) else { return Ok("large") };
    if let Some(same) = Some(n)
        && same == 3
    {
        return Ok("three");
    }
    const LAST: &str = "last";
    use std::convert::identity;
    fn helper(text: &str) -> String {
        identity(text).to_uppercase()
    }
    if n == 9 { Ok(if helper(LAST) == "LAST" { LAST } else { "lost" }) } else { Ok(label) }
}

/// `?` on options, in an inner block and in a closure.
#[distributed_lock(key = "question", on_busy = skip, on_error = log)]
pub async fn question(bytes: Option<&[u8]>) -> Option<u8> {
    let first = bytes?.first()?;
    let again = async { Some(*first) }.await?;
    Some(again + bytes?.iter().rev().find_map(|last| last.checked_mul(2))?)
}

/// Never returns.
#[allow(clippy::diverging_sub_expression, reason = "the code of the lock has no value either")]
#[distributed_lock(key = "never", on_error = |error| panic!("{error}"))]
pub async fn never() -> ! {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns nothing but errors.
///
/// # Errors
/// Always.
#[distributed_lock(key = format_args!("only-errors:{}", limit.as_millis()))]
pub async fn only_errors(limit: Duration) -> anyhow::Result<Infallible> {
    tokio::time::timeout(limit, std::future::pending::<()>()).await?;
    unreachable!("the time is over")
}

/// Panics.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[allow(clippy::missing_panics_doc, reason = "the first line says it")]
#[distributed_lock(key = "panics:{n}")]
pub async fn panics(n: u8) -> Answer<u8> {
    tokio::task::yield_now().await;
    assert!(n > 100, "{n} is too small");
    Ok(n)
}

/// Has no body to speak of.
#[distributed_lock(key = "empty", on_busy = skip, on_error = log)]
pub async fn empty() {}

/// Has only a statement, whose value is dropped.
#[distributed_lock(key = "statement", on_busy = skip, on_error = log)]
pub async fn statement(text: String) {
    drop(text);
}

/// Shadows its arguments.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "shadows:{n}", guard = lock)]
pub async fn shadows(n: u8, text: &str) -> Answer<(String, String)> {
    let n = format!("{n}{text}");
    let text = n.clone() + &n;
    let lock = lock.key().to_owned();
    tokio::task::yield_now().await;
    Ok((lock, text))
}

/// Runs futures side by side, in this task and in others.
///
/// # Errors
/// A task fails, or the lock is not acquired or is lost.
#[distributed_lock(key = "side-by-side:{base}")]
pub async fn side_by_side(base: u64) -> anyhow::Result<u64> {
    let (a, b) = tokio::try_join!(async { Ok::<_, anyhow::Error>(base) }, async {
        tokio::task::yield_now().await;
        Ok(base + 1)
    })?;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..3 {
        tasks.spawn(async move { i + base });
    }
    let mut sum = a + b;
    while let Some(part) = tasks.join_next().await {
        sum += part?;
    }
    Ok(sum)
}

macro_rules! job {
    (
        $(#[$meta:meta])*
        $visibility:vis $name:ident($($argument:ident : $of:ty),* $(,)?) -> $answer:ty,
        key = $key:expr, ttl = $ttl:expr, $value:expr
    ) => {
        $(#[$meta])*
        #[distributed_lock(key = $key, ttl = $ttl)]
        $visibility async fn $name($($argument: $of),*) -> Answer<$answer> {
            let run = async move || -> Answer<$answer> { $value };
            run().await
        }
    };
}

job! {
    /// A template, a ttl and arguments from the caller of a macro.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    pub made_by_macro(id: u64, tenant: &'static str) -> u64,
    key = "made:{tenant}:{id}", ttl = "10s",
    Ok(id + u64::try_from(tenant.len()).unwrap_or_default())
}

macro_rules! template_inside {
    ($name:ident, $argument:ident) => {
        /// A template in a macro, for an argument that the macro's caller names.
        ///
        /// # Errors
        /// The lock is not acquired, or it is lost.
        #[distributed_lock(key = "inside:{id}:{pair.1}", guard = lock, on_busy = |_| Ok(String::new()))]
        pub async fn $name($argument: u64, pair: (u8, u8)) -> Answer<String> {
            tokio::task::yield_now().await;
            Ok(format!("{} {} {}", lock.key(), $argument, pair.0))
        }
    };
}

template_inside!(template_in_macro, id);

macro_rules! template_outside {
    ($name:ident, $key:literal) => {
        /// A template from the caller, for an argument that the macro names.
        ///
        /// # Errors
        /// The lock is not acquired, or it is lost.
        #[distributed_lock(key = $key)]
        pub async fn $name(id: u64) -> Answer<u64> {
            tokio::task::yield_now().await;
            Ok(id)
        }
    };
}

template_outside!(template_outside_macro, "outside:{id}");

macro_rules! with_lock {
    (#[lock($($argument:tt)*)] $item:item) => {
        #[distributed_lock($($argument)*)]
        $item
    };
}

with_lock! {
    #[lock(key = "passed-on:{id}", wait = forever)]
    /// The arguments and the function pass through a macro.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    pub async fn passed_on(id: u64) -> Answer<u64> {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// A method that a macro writes.
#[derive(Debug)]
pub struct Number(pub u8);

macro_rules! getter {
    ($self:ident, $name:ident, $of:ty, $value:expr) => {
        impl Number {
            /// The macro's caller gives `self`.
            ///
            /// # Errors
            /// The lock is not acquired, or it is lost.
            #[distributed_lock(key = "getter:{self.0}")]
            pub async fn $name(&$self) -> Answer<$of> {
                tokio::task::yield_now().await;
                Ok($value)
            }
        }
    };
}

getter!(self, value, u8, self.0);
