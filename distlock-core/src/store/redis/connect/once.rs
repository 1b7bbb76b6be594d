//! A connection that several tasks want at once is made once.

use std::time::Duration;

use tokio::{sync::OnceCell, time::timeout};

use crate::error::{StoreError, StoreErrorKind};

/// What a cell holds. The first caller makes it, and the others wait for that.
///
/// Each caller waits for `patience` at the most. Without that limit a queue of callers, each trying in vain
/// after the one before, would hold up the last one for the sum of all their attempts.
pub(in super::super) async fn made<T: Clone, F: Future<Output = Result<T, StoreError>>>(
    cell: &OnceCell<T>,
    patience: Duration,
    make: impl FnOnce() -> F,
) -> Result<T, StoreError> {
    if let Some(value) = cell.get() {
        return Ok(value.clone());
    }
    // Boxed: callers that find the value made do not carry the size of this future.
    let making = Box::pin(timeout(patience, cell.get_or_try_init(make)));
    let Ok(made) = making.await else {
        let detail = format!("no connection could be made within {patience:?}");
        return Err(StoreError::new(StoreErrorKind::Unreachable, detail));
    };
    made.cloned().map_err(StoreError::before_sending)
}
