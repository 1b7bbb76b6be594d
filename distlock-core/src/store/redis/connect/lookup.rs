//! The address of a server whose certificate has another name than its host.

use std::net::SocketAddr;

use redis::{RedisFuture, io::AsyncDNSResolver};

/// Looks up this host, whatever name redis-rs asks for. redis-rs takes one name for both purposes: to connect
/// to, and to check the certificate by.
pub(super) struct OfHost(pub(super) String);

impl AsyncDNSResolver for OfHost {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _certificate_name: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((&*self.0, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
