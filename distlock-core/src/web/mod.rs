//! What a lock error is over HTTP. Here and not in the facade, because only the crate that has `LockError` may implement foreign traits for it.
