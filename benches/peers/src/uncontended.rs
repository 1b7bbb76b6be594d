//! Measures free keys on one server: latency and throughput of a cycle, which is an acquire and a release.

use std::time::{Duration, Instant};

use tokio::{runtime::Builder, task::JoinSet};

use test_support::RedisServer;

use crate::{
    Outcome, REPETITIONS,
    client::Client,
    measure::{cpu_time, print_speeds, quantile, spread},
};

/// Prints the latency of a cycle of one task on a key of its own, on one thread. Each library takes turns
/// with plain redis-rs.
pub fn latency(names: &[&str], server: &RedisServer) -> Outcome<()> {
    const CYCLES: usize = 200;
    println!(
        "one task, a free key: latency of a cycle as a ratio to redis-rs, \
         median (least to most of {REPETITIONS})"
    );
    for name in names {
        let mut ratios = Vec::new();
        for _ in 0..REPETITIONS {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            ratios.push(runtime.block_on(async {
                let plain = Client::named("redis-rs", &server.url()).await?;
                let other = Client::named(name, &server.url()).await?;
                let mut times = [Vec::new(), Vec::new()];
                for _ in 0..CYCLES {
                    for (client, times) in [&plain, &other].into_iter().zip(&mut times) {
                        let start = Instant::now();
                        client.locked("one", || async {}).await;
                        times.push(start.elapsed().as_secs_f64());
                        if name.ends_with("background") {
                            // The answer to its release must not come during the other client's cycle.
                            tokio::time::sleep(Duration::from_micros(200)).await;
                        }
                    }
                }
                let [plain, other] = times.map(|times| quantile(times, 0.5));
                Outcome::Ok(other / plain)
            })?);
        }
        println!("  {name:<22} {}", spread(&ratios));
    }
    Ok(())
}

/// Prints cycles per second and CPU time per cycle of 64 tasks, each with its own key, that share one client.
pub fn throughput(names: &[&str], server: &RedisServer) -> Outcome<()> {
    const TASKS: usize = 64;
    println!("64 tasks, a key each: ratio to redis-rs of cycles per second, and of CPU time per cycle");
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut measured = vec![(Vec::new(), Vec::new()); names.len()];
    for _ in 0..REPETITIONS {
        let mut plain = None;
        for (name, (speeds, costs)) in names.iter().zip(&mut measured) {
            let cycles = if *name == "redlock" { 10 } else { 150 };
            let (wall, cpu) = runtime.block_on(async {
                let client = Client::named(name, &server.url()).await?;
                let (start, cpu) = (Instant::now(), cpu_time());
                let mut tasks = JoinSet::new();
                for task in 0..TASKS {
                    let client = client.clone();
                    tasks.spawn(async move {
                        let key = format!("own:{task}");
                        for _ in 0..cycles {
                            client.locked(&key, || async {}).await;
                        }
                    });
                }
                tasks.join_all().await;
                let all = (cycles * TASKS) as f64;
                Outcome::Ok((start.elapsed().as_secs_f64() / all, (cpu_time() - cpu) / all))
            })?;
            let (plain_wall, plain_cpu) = *plain.get_or_insert((wall, cpu));
            speeds.push(plain_wall / wall);
            costs.push(cpu / plain_cpu);
        }
    }
    print_speeds(names, &measured);
    Ok(())
}
