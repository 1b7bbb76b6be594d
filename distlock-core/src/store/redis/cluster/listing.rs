//! The holders of all servers of a cluster, one server after the other.

use std::sync::Arc;

use super::{node::Node, servers::Servers};
use crate::{
    error::StoreError,
    holder::Holder,
    store::{HolderPages, Store},
};

/// How far a list has come.
struct Progress {
    servers: Arc<Servers>,
    namespace: String,
    prefix: String,
    /// The servers that are listed next; `None` before the first page.
    nodes: Option<Vec<Arc<Node>>>,
    /// The rest of the server that is being listed.
    pages: Option<HolderPages>,
}

/// Lists the holders. A key whose slot moves meanwhile may be missing, or come twice.
pub(super) fn list(servers: &Arc<Servers>, namespace: &str, prefix: &str) -> HolderPages {
    let (servers, namespace, prefix) = (Arc::clone(servers), namespace.to_owned(), prefix.to_owned());
    let progress = Progress { servers, namespace, prefix, nodes: None, pages: None };
    HolderPages::new(progress, |progress| Box::pin(progress.next_page()))
}

impl Progress {
    async fn next_page(mut self) -> Result<Option<(Vec<Holder>, Self)>, StoreError> {
        if self.nodes.is_none() {
            self.servers.refresh(None).await?;
            self.nodes = Some(self.servers.slots.nodes());
        }
        loop {
            if let Some(pages) = &mut self.pages
                && let Some(page) = pages.next_page().await?
            {
                return Ok(Some((page, self)));
            }
            let Some(node) = self.nodes.as_mut().and_then(Vec::pop) else { return Ok(None) };
            self.pages = Some(node.store.list(&self.namespace, &self.prefix));
        }
    }
}
