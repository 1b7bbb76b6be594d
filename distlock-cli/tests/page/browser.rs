//! A browser without a screen, by the protocol of `chromedriver` (`WebDriver`).

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use test_support::{free_port, in_time};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::SOON;

/// A browser with one window. It is closed when the value is dropped.
pub(crate) struct Browser {
    client: Client,
    /// The address of the session.
    session: String,
    _driver: Child,
    profile: PathBuf,
}

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

impl Browser {
    /// Starts a browser with an empty profile.
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            // The driver ends its browser when it is asked to, and the browser is in its group.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts: ./test-ui.sh installs it");
        let (client, address) = (Client::new(), format!("http://127.0.0.1:{port}"));
        let ready = async {
            while client.get(format!("{address}/status")).send().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        in_time(SOON, ready).await;
        let profile = std::env::temp_dir().join(format!("distlock-browser-{}-{port}", std::process::id()));
        let mut flags: Vec<_> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.display()));
        let options = json!({ "args": flags });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let answer = send(&client, Method::POST, &format!("{address}/session"), Some(&wanted)).await;
        let id = answer["sessionId"].as_str().expect("a session");
        Self { client, session: format!("{address}/session/{id}"), _driver: driver, profile }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        send(&self.client, Method::POST, &format!("{}/{path}", self.session), Some(&body)).await
    }

    /// Opens an address.
    pub(crate) async fn open(&self, address: &str) {
        self.post("url", json!({ "url": address })).await;
    }

    /// What an expression of JavaScript gives.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        self.post("execute/sync", json!({ "script": format!("return ({expression});"), "args": [] })).await
    }

    /// Waits until an expression of JavaScript is true.
    pub(crate) async fn wait_for(&self, expression: &str) {
        let end = Instant::now() + SOON;
        while self.eval(expression).await != true {
            let page = self.eval("document.body.innerText").await;
            assert!(Instant::now() < end, "`{expression}` did not become true; the page shows:\n{page}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks on the element that a CSS selector names, as a user does: it has to be visible.
    pub(crate) async fn click(&self, selector: &str) {
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        let id = id.expect("an element");
        self.post(&format!("element/{id}/click"), json!({})).await;
    }

    /// Types into the element that a CSS selector names.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        let id = id.expect("an element");
        self.post(&format!("element/{id}/value"), json!({ "text": text })).await;
    }

    /// Makes the window as large as a device's, in the colours that its user prefers.
    pub(crate) async fn pretend(&self, width: u32, height: u32, is_phone: bool, is_dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": is_phone });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let colours = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// A picture of the window, as a PNG file in base 64.
    pub(crate) async fn picture(&self) -> String {
        let path = format!("{}/screenshot", self.session);
        let answer = send(&self.client, Method::GET, &path, None).await;
        answer.as_str().expect("a picture").to_owned()
    }

    /// Closes the browser.
    pub(crate) async fn close(self) {
        send(&self.client, Method::DELETE, &self.session, None).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

async fn send(client: &Client, method: Method, address: &str, body: Option<&Value>) -> Value {
    let mut request = client.request(method, address);
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = in_time(SOON, request.send()).await.expect("chromedriver answers");
    let is_fine = response.status().is_success();
    let answer: Value = response.json().await.expect("JSON");
    assert!(is_fine, "{address}: {answer}");
    answer["value"].clone()
}
