//! What the page shows and does.

use std::time::Duration;

use test_support::eventually;

use crate::{SOON, browser::Browser, load::Load};

/// An expression for the row of a key.
fn row(key: &str) -> String {
    format!("document.querySelector('[data-key={}]')", serde_json::to_string(key).unwrap())
}

#[tokio::test]
async fn the_page_shows_the_locks_of_a_server_under_load() {
    let load = Load::of_a_shop().await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 4").await;
    let monthly = row("report:monthly");
    browser.wait_for(&format!("{monthly}.innerText.includes('worker-2:91')")).await;
    // Two programs wait for it.
    let contended = row("order:1042");
    browser.wait_for(&format!("{contended}.querySelector('.queue').textContent === '2 waiting'")).await;
    browser.wait_for("Number(document.getElementById('rate').textContent) > 0.5").await;
    browser.wait_for("document.getElementById('longest').textContent !== '-'").await;
    browser.close().await;
}

#[tokio::test]
async fn a_lease_counts_down_until_it_is_renewed() {
    let mut load = Load::start().await;
    load.hold("report:monthly", "worker-2:91").await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 1").await;
    let width = "parseFloat(document.querySelector('.bar i').style.width)";
    let before = browser.eval(width).await.as_f64().expect("a width");
    browser.wait_for(&format!("{width} < {}", before - 3.0)).await;
    browser.close().await;
}

#[tokio::test]
async fn the_filter_hides_other_keys_and_holders() {
    let load = Load::of_a_shop().await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 4").await;
    browser.type_into("#filter", "MONTHLY").await;
    browser.wait_for("document.querySelectorAll('.lock').length === 1").await;
    assert_eq!(browser.eval("document.querySelector('.key').textContent").await, "report:monthly");
    browser.eval("document.getElementById('filter').value = ''").await;
    browser.type_into("#filter", "worker-2").await;
    browser.wait_for("document.querySelectorAll('.lock').length === 1").await;
    browser.close().await;
}

#[tokio::test]
async fn a_lock_is_broken_after_a_confirmation_only() {
    let mut load = Load::start().await;
    load.hold("report:monthly", "worker-2:91").await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock .break').length === 1").await;
    assert_eq!(browser.eval("location.href.includes('token')").await, false, "the token leaves the address");
    browser.click(".lock .break").await;
    browser.wait_for("document.getElementById('confirm').open").await;
    assert_eq!(browser.eval("document.getElementById('confirm-holder').textContent").await, "worker-2:91");
    browser.click("#confirm button[value=no]").await;
    browser.wait_for("!document.getElementById('confirm').open").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(load.server.has("lock:report:monthly").await);
    browser.click(".lock .break").await;
    browser.click("#confirm-yes").await;
    eventually(SOON, async || !load.server.has("lock:report:monthly").await).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 0").await;
    browser.close().await;
}

#[tokio::test]
async fn a_key_is_text_and_never_markup() {
    let mut load = Load::start().await;
    let evil = "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script>";
    load.hold(evil, "<b>pod</b>").await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 1").await;
    assert_eq!(browser.eval("document.querySelector('.key').textContent").await, evil);
    assert_eq!(browser.eval("document.querySelectorAll('.lock img, .lock script, .lock b').length").await, 0);
    assert_eq!(browser.eval("document.title").await, "distlock");
    browser.close().await;
}

#[tokio::test]
async fn everything_comes_from_distlock() {
    let load = Load::of_a_shop().await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 4").await;
    let elsewhere = "performance.getEntriesByType('resource').map((entry) => entry.name)\
                     .filter((name) => !name.startsWith(location.origin) && !name.startsWith('data:'))";
    assert_eq!(browser.eval(elsewhere).await, serde_json::json!([]));
    browser.close().await;
}

#[tokio::test]
async fn the_page_says_when_the_server_has_gone_and_goes_on() {
    let mut load = Load::of_a_shop().await;
    let browser = Browser::start().await;
    browser.open(&load.address).await;
    browser.wait_for("document.querySelectorAll('.lock').length === 4").await;
    load.server.stop();
    browser
        .wait_for("document.querySelector('#status.bad')?.textContent.includes('lock store failed') ?? false")
        .await;
    assert_eq!(browser.eval("document.getElementById('holders').textContent").await, "-");
    load.server.restart();
    browser.wait_for("document.querySelector('#status.bad') === null").await;
    browser.close().await;
}
