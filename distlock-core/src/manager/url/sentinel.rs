//! A server whose place sentinels know.

use super::{
    parameters::Parameters,
    scheme::Scheme,
    server::{Opened, Settings, config, endpoint, single},
};
use crate::{
    error::LockError,
    store::redis::{Endpoint, Login},
};

/// The port of a sentinel for which the URL names none.
const SENTINEL_PORT: u16 = 26379;

/// The primary of the service in `[user:password@]host[:port],../service`. The credentials in front of the
/// hosts are those of the server.
pub(super) fn sentinel(
    scheme: Scheme,
    place: &str,
    parameters: &Parameters,
    settings: &Settings,
) -> Result<Opened, LockError> {
    let (credentials, hosts) = place.rsplit_once('@').unwrap_or(("", place));
    let at = if credentials.is_empty() { "" } else { "@" };
    let (hosts, service) = hosts.split_once('/').unwrap_or((hosts, ""));
    let is_name = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if service.is_empty() || !service.chars().all(is_name) {
        return Err(config(format!(
            "the URL does not end with the name of one service; write `{}://host[:port],host[:port],../service`, \
             and a database as `?db=2`",
            scheme.name
        )));
    }
    let mut sentinels: Vec<Endpoint> = Vec::new();
    for host in hosts.split(',') {
        let sentinel = one_sentinel(scheme, host, parameters, settings)?;
        let address = sentinel.address();
        if sentinels.iter().any(|other| other.address() == address) {
            return Err(config(format!("the sentinel `{address}` is named twice: it would count as two")));
        }
        sentinels.push(sentinel);
    }
    // Only the host is not used: sentinels name it.
    let server = endpoint(scheme, &format!("{credentials}{at}sentinel.invalid"), parameters, settings)?;
    single(server.found_by(service, sentinels), settings)
}

/// How a sentinel is reached: with its own credentials, and by TLS like the server unless the URL or the
/// builder says otherwise.
fn one_sentinel(
    scheme: Scheme,
    host: &str,
    parameters: &Parameters,
    settings: &Settings,
) -> Result<Endpoint, LockError> {
    // The last colon of `[::1]` is no port's.
    let port = if host.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
        String::new()
    } else {
        format!(":{SENTINEL_PORT}")
    };
    #[cfg(feature = "tls")]
    let has_own_certificates = settings.sentinel_tls.is_some();
    #[cfg(not(feature = "tls"))]
    let has_own_certificates = false;
    let has_tls = parameters.sentinel_tls.unwrap_or(scheme.has_tls || has_own_certificates);
    if has_tls && cfg!(not(feature = "tls")) {
        return Err(config(
            "`sentinel_tls=yes` needs the feature `tls`: distlock = { version = \"..\", features = [\"tls\"] }"
                .to_owned(),
        ));
    }
    if !has_tls && has_own_certificates {
        return Err(config(
            "`.sentinel_tls(..)` was called, and the URL says `sentinel_tls=no`; leave one of them out"
                .to_owned(),
        ));
    }
    let url = format!("{}://{host}{port}", if has_tls { "rediss" } else { "redis" });
    let Parameters { sentinel_user, sentinel_pass, .. } = parameters;
    let login = Login { user: sentinel_user.as_deref(), pass: sentinel_pass.as_deref(), ..Login::default() };
    let endpoint = Endpoint::from_url(&url, &login)?;
    #[cfg(feature = "tls")]
    if let Some(tls) = settings.sentinel_tls.as_ref().or(settings.tls.as_ref()).filter(|_| has_tls) {
        return endpoint.with_tls(tls);
    }
    let _ = settings;
    Ok(endpoint)
}
