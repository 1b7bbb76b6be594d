//! `distlock ui`: the locks as a web page.
//!
//! - [`routes`] answers requests. [`events`] is the stream of views that the page shows.

use distlock_core::LockManager;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    args::UiOptions,
    failure::{Failure, say},
    output, server, stopped,
};

mod events;
mod routes;

/// What the requests share.
pub(super) struct Page {
    manager: LockManager,
    /// What a request has to show that breaks a lock; `None` if no request may.
    token: Option<String>,
    /// Whether only this host can reach the page, so that requests have to name this host.
    is_local: bool,
    /// The latest view as JSON.
    views: watch::Receiver<String>,
}

/// Serves the page until a signal ends it.
pub(crate) async fn run(url: Option<&str>, options: &UiOptions) -> Result<u8, Failure> {
    let manager = server::connect(url).await?;
    let failed = |error| Failure::io(format!("`{}` cannot be listened on: {error}", options.listen));
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let is_local = address.ip().is_loopback();
    if !is_local {
        say("everybody who reaches this address can see the names of keys and their holders");
    }
    let token = if options.allow_break { Some(random_token()?) } else { None };
    let fragment = token.as_ref().map(|token| format!("#token={token}")).unwrap_or_default();
    let stopped = stopped();
    output::print(&format!("http://{address}/{fragment}\n"))?;
    let views = events::watch(manager.clone(), options.prefix.clone(), options.every);
    let page = Page { manager, token, is_local, views };
    tokio::select! {
        served = axum::serve(listener, routes::routes(page)) => {
            served.map_err(|error| Failure::io(format!("the page cannot be served: {error}")))?;
        }
        () = stopped => {}
    }
    Ok(0)
}

/// 32 hexadecimal digits that nobody can guess.
fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::io(format!("no random token can be made: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
