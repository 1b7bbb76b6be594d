//! The holders of many keys, page by page.

use std::{fmt, pin::Pin};

use futures_util::stream::{self, Stream, TryStreamExt};

use crate::{error::StoreError, holder::Holder};

/// A page that is being read, with the state after it; `None` after the last one. It is a
/// [`StoreFuture`](crate::StoreFuture).
pub type PageFuture<S> = Pin<Box<dyn Future<Output = Result<Option<(Vec<Holder>, S)>, StoreError>> + Send>>;

/// The holders of many keys, which a store reads in pages: see [`Store::list`](crate::Store::list).
pub struct HolderPages(Pin<Box<dyn Stream<Item = Result<Vec<Holder>, StoreError>> + Send>>);

impl HolderPages {
    /// Pages that `read` reads one by one, each when it is asked for. It gives back a page, which may be
    /// empty, with its next state; `None` after the last page. An error is the last item.
    pub fn new<S: Send + 'static>(state: S, read: impl Fn(S) -> PageFuture<S> + Send + 'static) -> Self {
        Self(Box::pin(stream::try_unfold(state, read)))
    }

    /// Pages that end with this error.
    pub fn failed(error: StoreError) -> Self {
        Self(Box::pin(stream::once(std::future::ready(Err(error)))))
    }

    /// The next page, which may be empty; `None` after the last one.
    ///
    /// # Errors
    /// If the store could not read it. No page follows.
    ///
    /// # Cancel safety
    /// Nothing is left on the server, and the page is read by the next call.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Holder>>, StoreError> {
        self.0.try_next().await
    }
}

impl fmt::Debug for HolderPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HolderPages(..)")
    }
}
