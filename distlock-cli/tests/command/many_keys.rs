//! Many keys: neither the server is held up nor is memory filled.

use test_support::RedisServer;

use crate::{
    process::{Running, distlock_at},
    ui,
};

const KEYS: usize = 100_000;
/// SCAN is asked for 512 names, and answers whole buckets of its table.
const LONGEST_PAGE: usize = 2 * 512;
/// How many lines of `ls --json` fit nowhere between the two processes: not into the pipe, nor into a buffer.
const PIPE: usize = 2_000;
const MEBIBYTE: usize = 1024;

/// Sets keys as if they were held, piece by piece, so that no script runs for long.
async fn fill(server: &RedisServer, keys: usize) {
    const FILL: &str = "for i = ARGV[1], ARGV[1] + 499 do redis.call('SET', 'lock:' .. i, ARGV[2]) end";
    for first in (0..keys).step_by(500) {
        let value = "7d3c6ee4-5f3f-4d2c-9d0e-000000000000 pod:1";
        server.command::<()>(&["EVAL", FILL, "0", &first.to_string(), value]).await;
    }
}

/// The most memory that a process ever had, in KiB.
fn peak_of(running: &Running) -> usize {
    let process = running.child.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn a_long_list_fills_no_memory_and_reads_no_further_than_its_reader() {
    let server = RedisServer::start();
    fill(&server, KEYS).await;
    let mut listing = Running::start_without_waiting(&mut distlock_at(&server.url(), &["ls", "--json"]));
    let mut read = 0;
    let mut read_to = async |listing: &mut Running, wanted: usize| {
        while read < wanted {
            assert!(listing.line().await.expect("more").contains("pod:1"));
            read += 1;
        }
    };
    read_to(&mut listing, PIPE).await;
    let calls = server.calls(&["scan"]).await;
    // While nobody reads, the list waits, and the server with it does nothing.
    assert!(calls <= 3 * PIPE as u64 / 512, "{calls} calls");
    let early = peak_of(&listing);
    read_to(&mut listing, KEYS - PIPE).await;
    let late = peak_of(&listing);
    assert!(late < early + 4 * MEBIBYTE, "{early} KiB after {PIPE} keys, {late} KiB after {KEYS}");
    assert_eq!(listing.rest().await.len(), PIPE);
    assert_eq!(listing.ended().await, (0, String::new()));
    // Each command is short, so that other clients have their turns in between.
    let calls = server.calls(&["scan"]).await;
    assert!(calls >= (KEYS / LONGEST_PAGE) as u64, "{calls} calls");
    assert_eq!(server.calls(&["keys"]).await, 0);
}

#[tokio::test]
async fn a_view_of_many_keys_fills_no_memory() {
    let server = RedisServer::start();
    fill(&server, 1_000).await;
    let (page, address, _) = ui::start_at(&server.url(), &[]).await;
    let view = ui::view(&address, |view| view["holders"] == 1_000).await;
    assert_eq!(view["rows"].as_array().map(Vec::len), Some(1_000));
    let early = peak_of(&page);
    fill(&server, KEYS).await;
    let view = ui::view(&address, |view| view["holders"] == KEYS).await;
    assert_eq!(view["rows"].as_array().map(Vec::len), Some(1_000), "it shows some, and counts all");
    let late = peak_of(&page);
    assert!(late < early + 12 * MEBIBYTE, "{early} KiB with 1,000 keys, {late} KiB with {KEYS}");
}
