//! Runs cycles for callgrind and memcheck, which count what they execute and allocate.

use tokio::{runtime::Builder, task::JoinSet};

use test_support::RedisServer;

use crate::{Outcome, client::Client, quorum::Quorum};

/// Runs `cycles` cycles in each of 64 tasks on one thread, each task on its own key. The difference between
/// two runs with different numbers of cycles is what the cycles cost, without the program's start.
///
/// With `url` they run on that server, so that the server can be counted too.
pub fn run(name: &str, cycles: usize, url: Option<&str>) -> Outcome<()> {
    let servers: Vec<_> = (0..5).map(|_| RedisServer::start()).collect();
    let url = url.map_or_else(|| servers[0].url(), ToOwned::to_owned);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        if let Some(name) = name.strip_prefix("quorum:") {
            let client = Quorum::named(name, &servers).await?;
            for task in 0..64 {
                let (client, key) = (client.clone(), format!("own:{task}"));
                tasks.spawn(async move {
                    for _ in 0..cycles {
                        while client.cycle(&key).await.is_err() {}
                    }
                });
            }
        } else {
            let client = Client::named(name, &url).await?;
            for task in 0..64 {
                let (client, key) = (client.clone(), format!("own:{task}"));
                tasks.spawn(async move {
                    for _ in 0..cycles {
                        client.locked(&key, || async {}).await;
                    }
                });
            }
        }
        tasks.join_all().await;
        Ok(())
    })
}
