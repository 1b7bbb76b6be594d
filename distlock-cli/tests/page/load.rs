//! A server with locks that are held, waited for and passed on all the time, and the page that shows them.

use std::{process::Stdio, time::Duration};

use distlock_core::LockManager;
use test_support::{RedisServer, in_time};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::sleep,
};

use crate::SOON;

/// The page, its server, and the programs that use the locks.
pub(crate) struct Load {
    pub(crate) server: RedisServer,
    pub(crate) address: String,
    _page: Child,
    users: JoinSet<()>,
}

impl Load {
    /// Starts a server and the page.
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start();
        let mut page = Command::new(env!("CARGO_BIN_EXE_distlock"))
            .args(["ui", "--listen", "127.0.0.1:0", "--every", "200ms", "--allow-break"])
            .env("DISTLOCK_URL", server.url())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("distlock starts");
        let mut lines = BufReader::new(page.stdout.take().expect("its output")).lines();
        let address = in_time(SOON, lines.next_line()).await.expect("its output").expect("its address");
        Self { server, address, _page: page, users: JoinSet::new() }
    }

    async fn manager(&self, owner: &str) -> LockManager {
        LockManager::connect(format!("{}?owner={owner}", self.server.url()))
            .await
            .expect("the server answers")
    }

    /// Holds a key for ever, by a lease of 30 s that is renewed.
    pub(crate) async fn hold(&mut self, key: &str, owner: &str) {
        let guard = self.manager(owner).await.lock(key).acquire().await.expect("it is free");
        self.users.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
    }

    /// Lets several programs compete for a key, each of which holds it for a moment.
    pub(crate) async fn compete(&mut self, key: &str, owners: &[&str]) {
        for owner in owners {
            let (manager, key) = (self.manager(owner).await, key.to_owned());
            self.users.spawn(async move {
                loop {
                    let lock = manager.lock(&key).ttl(Duration::from_secs(5)).wait_forever();
                    let _ = lock.run(sleep(Duration::from_millis(300))).await;
                }
            });
        }
    }

    /// The locks of a small shop.
    pub(crate) async fn of_a_shop() -> Self {
        let mut load = Self::start().await;
        load.compete("order:1042", &["web-1:311", "web-2:298", "web-3:305"]).await;
        load.compete("stock:sku-77", &["web-1:311", "worker-1:88"]).await;
        load.hold("report:monthly", "worker-2:91").await;
        load.hold("import:suppliers", "worker-1:88").await;
        load
    }
}
