//! The pictures of the README: `./test-ui.sh --pictures` takes them.

use std::{env, fmt::Write, fs, path::Path, process::Stdio, time::Duration};

use pty_process::Size;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{SOON, browser::Browser, load::Load};

/// Takes the pictures if the environment asks for them, and otherwise sees that they can be taken.
#[tokio::test]
async fn pictures_are_taken_of_the_page_and_the_terminal() {
    let folder = match env::var("DISTLOCK_PICTURES") {
        Ok(folder) => folder,
        Err(_) => {
            env::temp_dir().join(format!("distlock-pictures-{}", std::process::id())).display().to_string()
        }
    };
    fs::create_dir_all(&folder).expect("a folder");
    let load = Load::of_a_shop().await;
    let browser = Browser::start().await;
    for (name, width, height, is_phone, is_dark) in
        [("ui", 1100, 330, false, false), ("ui-phone-dark", 390, 844, true, true)]
    {
        browser.pretend(width, height, is_phone, is_dark).await;
        browser.open(&load.address).await;
        browser.wait_for("document.querySelectorAll('.lock').length === 4").await;
        browser.wait_for("Number(document.getElementById('rate').textContent) > 0.5").await;
        save(&folder, name, &browser.picture().await).await;
    }
    browser.pretend(860, 210, false, true).await;
    let page = Path::new(&folder).join("top.html");
    fs::write(&page, html_of(&top(&load).await)).expect("a page");
    browser.open(&format!("file://{}", page.canonicalize().expect("its path").display())).await;
    save(&folder, "top", &browser.picture().await).await;
    fs::remove_file(page).expect("it is there");
    browser.close().await;
}

/// Writes a file of base 64, by the program that every Unix has for it.
async fn save(folder: &str, name: &str, base64: &str) {
    let file = fs::File::create(format!("{folder}/{name}.png")).expect("a file");
    let mut decoder = tokio::process::Command::new("base64");
    let mut decoder = decoder.arg("-d").stdin(Stdio::piped()).stdout(file).spawn().expect("base64 starts");
    decoder.stdin.take().expect("its input").write_all(base64.as_bytes()).await.expect("it reads");
    assert!(decoder.wait().await.expect("its status").success());
}

/// What `distlock top` shows in a terminal after some seconds.
async fn top(load: &Load) -> vt100::Parser {
    let (pty, terminal) = pty_process::open().expect("a terminal");
    pty.resize(Size::new(9, 96)).expect("its size");
    let command = pty_process::Command::new(env!("CARGO_BIN_EXE_distlock")).arg("top").kill_on_drop(true);
    let command = command.env("DISTLOCK_URL", load.server.url()).env("TERM", "xterm-256color");
    let _child = command.spawn(terminal).expect("distlock starts");
    let (mut output, _input) = pty.into_split();
    let mut parser = vt100::Parser::new(9, 96, 0);
    let end = Instant::now() + Duration::from_secs(6);
    let latest = end + SOON;
    let is_full = |parser: &vt100::Parser| parser.screen().contents().matches(" waiters 3").count() == 1;
    while Instant::now() < end || (!is_full(&parser) && Instant::now() < latest) {
        let mut bytes = [0; 4096];
        if let Ok(Ok(read)) = timeout(Duration::from_millis(200), output.read(&mut bytes)).await {
            parser.process(&bytes[..read]);
        }
    }
    assert!(parser.screen().contents().contains("report:monthly"), "{}", parser.screen().contents());
    parser
}

/// The terminal's cells as a page, with their colours.
fn html_of(parser: &vt100::Parser) -> String {
    let (rows, columns) = parser.screen().size();
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let Some(cell) = parser.screen().cell(row, column) else { continue };
            let colour = match cell.fgcolor() {
                vt100::Color::Idx(1 | 9) => "#f0766b",
                vt100::Color::Idx(2 | 10) => "#4cc274",
                vt100::Color::Idx(3 | 11) => "#e3b341",
                vt100::Color::Idx(8) => "#9aa4af",
                _ => "#e6e9ed",
            };
            let weight = if cell.bold() { "bold" } else { "normal" };
            let sign = match cell.contents() {
                "" => " ".to_owned(),
                sign => sign.replace('&', "&amp;").replace('<', "&lt;"),
            };
            write!(text, "<span style=\"color:{colour};font-weight:{weight}\">{sign}</span>")
                .expect("a text grows");
        }
        text.push('\n');
    }
    format!(
        "<!doctype html><meta charset=utf-8><body style=\"margin:0;padding:14px;background:#14171b\">\
         <pre style=\"margin:0;font:14px/1.35 'DejaVu Sans Mono',monospace\">{text}</pre>"
    )
}
