//! User name and password that change while the program runs.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use redis::{BasicAuth, RedisResult, StreamingCredentialsProvider};

/// A provider that all connections of a manager share. Each connection subscribes to it.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<dyn StreamingCredentialsProvider>);

impl Credentials {
    pub(crate) fn new(provider: impl StreamingCredentialsProvider + 'static) -> Self {
        Self(Arc::new(provider))
    }
}

impl StreamingCredentialsProvider for Credentials {
    fn subscribe(&self) -> BoxStream<'static, RedisResult<BasicAuth>> {
        self.0.subscribe()
    }
}
