//! The examples, run as a user runs them.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use test_support::{RedisServer, free_port};

/// Where cargo has put an example beside this test.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join(name);
    assert!(
        path.exists(),
        "no {}: `cargo test` builds the examples, `cargo test --test` does not",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_remove("DISTLOCK_URL");
    command
}

fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn is_a_fine_quickstart(text: &str) {
    for caller in ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"] {
        assert!(text.contains(&format!("{caller}: charged")), "{text}");
    }
    assert!(text.contains("Two holders of one order at the same time: never."), "{text}");
    assert!(text.contains("Two orders at the same time: yes."), "{text}");
}

#[test]
fn quickstart_in_memory() {
    let (success, text, errors) = run(&mut example("quickstart"));
    assert!(success, "{errors}");
    is_a_fine_quickstart(&text);
    assert!(
        text.trim_end().ends_with("DISTLOCK_URL=redis://127.0.0.1/ cargo run --example quickstart"),
        "{text}"
    );
}

#[test]
fn quickstart_on_redis() {
    let server = RedisServer::start();
    let (success, text, errors) = run(example("quickstart").env("DISTLOCK_URL", server.url()));
    assert!(success, "{errors}");
    is_a_fine_quickstart(&text);
}

#[test]
fn quickstart_says_in_one_line_what_is_wrong_with_the_url() {
    let dead = format!("redis://127.0.0.1:{}/", free_port());
    for (url, part) in
        [(dead.as_str(), "refuses connections"), ("http://localhost", "redis://host"), ("x", "no scheme")]
    {
        let (success, _, errors) = run(example("quickstart").env("DISTLOCK_URL", url));
        assert!(!success);
        assert!(errors.contains(part) && errors.lines().count() == 1, "{url}: {errors}");
    }
}

#[test]
fn guard() {
    let (success, text, errors) = run(&mut example("guard"));
    assert!(success && text.contains("released: true"), "{text}{errors}");
}

#[test]
fn nightly_job_runs_on_one_replica() {
    let (success, text, errors) = run(&mut example("nightly_job"));
    assert!(success, "{errors}");
    assert_eq!(text.matches("removed 17 rows").count(), 1, "{text}");
    assert_eq!(text.matches("skipped").count(), 2, "{text}");
}

#[test]
fn workers_lose_no_count_with_the_lock() {
    let server = RedisServer::start();
    let (success, text, errors) = run(example("workers").arg("3").env("DISTLOCK_URL", server.url()));
    assert!(success, "{text}{errors}");
    assert!(text.contains("with the lock:  150 of 150 counted, 0 lost"), "{text}");
    let without = text.lines().find(|line| line.contains("without")).unwrap();
    assert!(!without.contains(" 0 lost"), "{text}");
}

/// Starts a web example on a free port, and says where it listens.
#[cfg(any(feature = "axum", feature = "actix-web"))]
async fn order_api(name: &str) {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };

    let server = RedisServer::start();
    let mut api = example(name);
    api.env("DISTLOCK_URL", server.url()).env("PORT", "0").env("WORK_MS", "400").stdout(Stdio::piped());
    let mut api = api.spawn().unwrap();
    let mut line = String::new();
    // Kept open: the example goes on printing.
    let mut output = BufReader::new(api.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
    let client = reqwest::Client::new();
    let fulfil = async |id: u64| {
        let url = format!("{address}/orders/{id}/fulfil");
        client.post(url).send().await.unwrap().status().as_u16()
    };
    let (one, two, other) = tokio::join!(fulfil(42), fulfil(42), fulfil(43));
    let body = serde_json::json!({ "order_id": 42, "cents": 995 });
    let refund = client.post(format!("{address}/refunds")).json(&body).send().await.unwrap();
    let refund: serde_json::Value = refund.json().await.unwrap();
    api.kill().unwrap();
    api.wait().unwrap();
    assert_eq!([one.min(two), one.max(two), other], [200, 409, 200]);
    assert_eq!(refund, serde_json::json!({ "order_id": 42, "status": "refunded" }));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_orders() {
    order_api("axum_orders").await;
}

#[cfg(feature = "actix-web")]
#[tokio::test]
async fn actix_orders() {
    order_api("actix_orders").await;
}
