//! Settings that differ from the defaults, from the builder or from a URL.

use std::{fmt, time::Duration};

/// Settings that differ from the defaults. The builder has some, and the URL has some.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub(super) namespace: Option<String>,
    pub(super) ttl: Option<Duration>,
    pub(super) response_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) fence_lifetime: Option<Duration>,
    pub(super) restart_delay: Option<Duration>,
    pub(super) owner: Option<String>,
}

impl Overrides {
    /// These settings of the builder, and those of the URL.
    ///
    /// # Errors
    /// A sentence that names the setting, if both say something else: neither is to be ignored in silence.
    pub(super) fn merged_with(self, url: Self) -> Result<Self, String> {
        Ok(Self {
            namespace: one("namespace", self.namespace, url.namespace)?,
            ttl: one("ttl", self.ttl, url.ttl)?,
            response_timeout: one("response_timeout", self.response_timeout, url.response_timeout)?,
            connect_timeout: one("connect_timeout", self.connect_timeout, url.connect_timeout)?,
            fence_lifetime: one("fence_lifetime", self.fence_lifetime, url.fence_lifetime)?,
            restart_delay: one("restart_delay", self.restart_delay, url.restart_delay)?,
            owner: one("owner", self.owner, url.owner)?,
        })
    }
}

fn one<T: PartialEq + fmt::Debug>(
    name: &str,
    builder: Option<T>,
    url: Option<T>,
) -> Result<Option<T>, String> {
    match (builder, url) {
        (Some(builder), Some(url)) if builder != url => Err(format!(
            "`{name}` is {url:?} in the URL, and {builder:?} by the builder; set it in one place"
        )),
        (builder, url) => Ok(url.or(builder)),
    }
}
