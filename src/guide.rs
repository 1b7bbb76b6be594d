//! The pages of `docs/` for users. This module is in the documentation only, and not in the crate.
//!
//! - [`getting_started`]: a first locked function, and which settings to choose
//! - [`recipes`]: jobs, 409, migrations, Kubernetes, transactions, blocking work, cron, caches, tower
//! - [`migrating`]: the words of Redisson, ShedLock, Lock4j, Spring Integration, redsync and rslock
//! - [`testing`]: tests of locked functions
//! - [`operations`]: what the server must be like, what is on it, what is logged
//! - [`troubleshooting`]: every message, with its cause and what to do
//! - [`fencing`]: what a lease cannot promise, and what can
//!
//! # More pages
//! These files are in `docs/` of the package and of the repository:
//!
//! - `guarantees.md`: what each promise rests on, and the test that shows it
//! - `evidence.md`: how far each promise goes, what has checked it, and what breaks it
//! - `design.md`: why distlock is built as it is, and the formats on the server
//! - `benchmarks.md`: how fast distlock is, also beside other libraries

/// Makes a page a module, and lets its links lead to the other modules.
///
/// A page defines each link at its end, as `[recipes.md]: recipes.md`, which is right for a reader of the
/// file. Markdown takes the first definition of a link, so the ones here win.
macro_rules! page {
    ($(#[$attribute:meta])* $name:ident, $file:literal) => {
        #[doc = "[benchmarks.md]: crate::guide#more-pages"]
        #[doc = "[design.md]: crate::guide#more-pages"]
        #[doc = "[fencing.md]: crate::guide::fencing"]
        #[doc = "[getting-started.md]: crate::guide::getting_started"]
        #[doc = "[guarantees.md]: crate::guide#more-pages"]
        #[doc = "[migrating.md]: crate::guide::migrating"]
        #[doc = "[operations.md]: crate::guide::operations"]
        #[doc = "[recipes.md]: crate::guide::recipes"]
        #[doc = "[testing.md]: crate::guide::testing"]
        #[doc = "[troubleshooting.md]: crate::guide::troubleshooting"]
        #[doc = ""]
        #[doc = include_str!($file)]
        $(#[$attribute])*
        pub mod $name {}
    };
}

page!(getting_started, "../docs/getting-started.md");
page!(
    // Its handlers need the feature, also where examples are tested without it.
    #[cfg(any(not(doctest), feature = "axum"))]
    recipes,
    "../docs/recipes.md"
);
page!(migrating, "../docs/migrating.md");
page!(
    #[cfg(any(not(doctest), feature = "axum"))]
    testing,
    "../docs/testing.md"
);
page!(
    #[cfg(any(not(doctest), feature = "tls"))]
    operations,
    "../docs/operations.md"
);
page!(troubleshooting, "../docs/troubleshooting.md");
page!(fencing, "../docs/fencing.md");

/// The code of the other pages, which are files of the repository for those who want to know more.
#[cfg(doctest)]
mod compiled {
    #[doc = include_str!("../docs/guarantees.md")]
    struct Guarantees;
    #[doc = include_str!("../docs/evidence.md")]
    struct Evidence;
    #[doc = include_str!("../docs/design.md")]
    struct Design;
    #[doc = include_str!("../docs/benchmarks.md")]
    struct Benchmarks;
}
