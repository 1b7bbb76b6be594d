//! Each command in each of its forms, with a URL that is wrong, without rights, with an output that nobody
//! reads, and in a terminal of 20 columns: a clear line and a status.

use std::{fs::File, process::Stdio};

use test_support::{RedisServer, free_port, in_time};

use crate::{
    SOON,
    process::{Answer, answer, distlock, distlock_at},
    terminal::Screen,
    ui,
};

/// Each command in each of its forms, with arguments that are fine while `order:42` is held.
const COMMANDS: &[&[&str]] = &[
    &["run", "order:42", "--", "true"],
    &["ls"],
    &["ls", "--json"],
    &["who", "order:42"],
    &["who", "order:42", "--json"],
    &["wait", "order:42", "--timeout", "100ms"],
    &["wait", "order:42", "--timeout", "100ms", "--json"],
    &["break", "order:42"],
    &["break", "order:42", "--yes"],
    &["break", "order:42", "--yes", "--json"],
    &["doctor"],
    &["doctor", "--json"],
    &["top"],
    &["ui", "--listen", "127.0.0.1:0"],
];

/// What a command says that ends by itself: `top` in a terminal, which shows its messages with its output.
async fn refused(url: &str, arguments: &[&str]) -> Answer {
    if arguments[0] != "top" {
        return answer(&mut distlock_at(url, arguments)).await;
    }
    let mut screen = Screen::distlock(arguments, url, 24, 80);
    let status = screen.ended().await;
    Answer { status, stdout: String::new(), stderr: screen.text() + "\n" }
}

/// Asserts that a command ends with a status and one line; `doctor` with its own status and a table.
async fn is_one_line(url: &str, arguments: &[&str], status: i32, said: &str) {
    let answer = refused(url, arguments).await;
    if arguments[0] == "doctor" && status == 69 {
        assert_eq!((answer.status, &*answer.stderr), (1, ""), "{arguments:?}");
        assert!(answer.stdout.contains("broken"), "{}", answer.stdout);
        return;
    }
    assert_eq!(answer.status, status, "{arguments:?}: {}", answer.stderr);
    assert_eq!(answer.stdout, "", "{arguments:?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{arguments:?}: {}", answer.stderr);
    assert!(answer.stderr.starts_with("distlock: "), "{arguments:?}: {}", answer.stderr);
    assert!(answer.stderr.contains(said), "{arguments:?}: {}", answer.stderr);
    assert!(!answer.stderr.contains("secret"), "{arguments:?}: {}", answer.stderr);
}

/// Starts a server on which `order:42` is held.
async fn with_a_holder() -> RedisServer {
    let server = RedisServer::start();
    hold(&server).await;
    server
}

async fn hold(server: &RedisServer) {
    let value = "7d3c6ee4-5f3f-4d2c-9d0e-000000000000 pod-7";
    server.command::<()>(&["SET", "lock:order:42", value]).await;
}

/// The URL of a user that may not do all.
async fn guest(server: &RedisServer, rules: &[&str]) -> String {
    let user = ["ACL", "SETUSER", "guest", "reset", "on", ">secret", "&*", "+@all"];
    server.command::<()>(&[&user, rules].concat()).await;
    format!("redis://guest:secret@127.0.0.1:{}/", server.port())
}

#[tokio::test]
async fn a_wrong_url_is_one_line() {
    for (url, said) in [
        ("", "no URL was given; write `--url redis://host`, or set DISTLOCK_URL"),
        ("redsi://:secret@127.0.0.1", "the URL's scheme `redsi` is not known"),
        ("redis://:secret@127.0.0.1/?tll=1", "did you mean `ttl`?"),
        ("nonsense", "distlock: "),
    ] {
        for arguments in COMMANDS {
            is_one_line(url, arguments, 64, said).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_line() {
    let url = format!("redis://:secret@127.0.0.1:{}/", free_port());
    for arguments in COMMANDS {
        is_one_line(&url, arguments, 69, "lock store failed").await;
    }
}

#[tokio::test]
async fn wrong_credentials_are_one_line_without_them() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let url = format!("redis://:secret@127.0.0.1:{}/", server.port());
    for arguments in COMMANDS {
        is_one_line(&url, arguments, 69, "").await;
    }
}

#[tokio::test]
async fn a_right_that_locks_need_is_named_in_one_line() {
    let server = with_a_holder().await;
    let url = guest(&server, &["~*", "-set"]).await;
    for arguments in COMMANDS {
        is_one_line(&url, arguments, 69, "the server forbids SET").await;
    }
    assert!(server.has("lock:order:42").await);
}

#[tokio::test]
async fn a_key_that_the_access_rules_do_not_cover_is_named() {
    let server = with_a_holder().await;
    let url = guest(&server, &["~other:*"]).await;
    let said = "allow the pattern `~lock:order:42*`";
    for arguments in COMMANDS.iter().filter(|arguments| !matches!(arguments[0], "top" | "ui" | "doctor")) {
        is_one_line(&url, arguments, 69, said).await;
    }
    go_on_and_say(&url, said).await;
    let checked = answer(&mut distlock_at(&url, &["doctor"])).await;
    assert!(checked.stdout.contains("allow the pattern `~lock:*`"), "{}", checked.stdout);
}

#[tokio::test]
async fn the_right_to_list_is_named_by_what_lists() {
    let server = with_a_holder().await;
    let url = guest(&server, &["~*", "-scan"]).await;
    for arguments in [&["ls"][..], &["ls", "--json"]] {
        is_one_line(&url, arguments, 69, "allow it by `+scan`").await;
    }
    go_on_and_say(&url, "allow it by `+scan`").await;
    let checked = answer(&mut distlock_at(&url, &["doctor"])).await;
    let line = checked.stdout.lines().find(|line| line.contains("  listing  ")).expect("its check");
    assert!(line.contains("  weak  ") && line.contains("allow it by `+scan`"), "{line}");
    assert_eq!(checked.status, 0);
    assert_eq!(answer(&mut distlock_at(&url, &["who", "order:42"])).await.status, 0);
}

/// Asserts that `top` and `ui` show why they show no locks, `top` even in a small terminal.
async fn go_on_and_say(url: &str, said: &str) {
    let mut screen = Screen::distlock(&["top"], url, 12, 20);
    // It is broken between words.
    let text = |text: &str| text.replace([' ', '\n'], "");
    screen.wait_for(|shown| text(shown).contains(&text(said))).await;
    screen.press("q").await;
    assert_eq!(screen.ended().await, 0);
    let (_page, address, _) = ui::start_at(url, &[]).await;
    let view = ui::first_view(&address).await;
    assert!(view["error"].as_str().is_some_and(|error| error.contains(said)), "{view}");
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_one_line() {
    let server = with_a_holder().await;
    for arguments in COMMANDS {
        let (status, said) = match *arguments {
            // Its output is the command's, and is not touched.
            ["run", ..] => (75, "is busy"),
            ["top"] => (64, "`distlock top` needs a terminal; `distlock ls` lists the locks once"),
            // There is nothing to write but the reason.
            ["wait", _, _, _] => (75, "is still held by pod-7"),
            ["break", _] => (64, "add `--yes`"),
            _ => (74, "standard output cannot be written"),
        };
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let full = File::options().write(true).open("/dev/full").expect("a device");
        for output in [Stdio::from(writer), Stdio::from(full)] {
            hold(&server).await;
            let answer = answer(distlock_at(&server.url(), arguments).stdout(output)).await;
            assert_eq!(answer.status, status, "{arguments:?}: {}", answer.stderr);
            assert!(answer.stderr.starts_with("distlock: "), "{arguments:?}: {}", answer.stderr);
            assert!(answer.stderr.contains(said), "{arguments:?}: {}", answer.stderr);
            assert_eq!(answer.stderr.lines().count(), 1, "{arguments:?}: {}", answer.stderr);
        }
    }
}

#[tokio::test]
async fn a_help_that_nobody_reads_is_a_status() {
    let each = COMMANDS.iter().map(|arguments| vec![arguments[0], "--help"]);
    for arguments in each.chain([vec!["--help"], vec!["--version"]]) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(
            answer(distlock(&arguments).stdout(Stdio::from(writer))).await.status,
            74,
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn messages_that_nobody_reads_leave_the_status() {
    let server = with_a_holder().await;
    let gone = format!("redis://127.0.0.1:{}/", free_port());
    for (url, arguments, status) in [
        ("", &["ls"][..], 64),
        (&*gone, &["who", "order:42"], 69),
        (&*gone, &["ls", "--walk"], 64),
        (&*server.url(), &["run", "order:42", "--", "true"], 75),
        (&*server.url(), &["run", "order:43", "--", "distlock-has-no-such-program"], 127),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let answer = answer(distlock_at(url, arguments).stderr(Stdio::from(writer))).await;
        assert_eq!(answer.status, status, "{arguments:?}");
    }
}

#[tokio::test]
async fn everything_fits_a_terminal_of_20_columns() {
    let server = with_a_holder().await;
    for arguments in COMMANDS {
        hold(&server).await;
        // As high as needed, so that nothing scrolls away.
        let mut screen = Screen::distlock(arguments, &server.url(), 300, 20);
        match arguments[0] {
            "top" => {
                screen.wait_for(|text| text.contains("order:42")).await;
                screen.press("q").await;
            }
            "ui" => {
                screen.wait_for(|text| text.contains("http://127.0.0.1:")).await;
                screen.press("\x03").await;
            }
            _ => {}
        }
        let wanted = match *arguments {
            ["run" | "wait", ..] => 75,
            ["break", _] => 64,
            _ => 0,
        };
        let status = screen.ended().await;
        let text = screen.text();
        assert_eq!(status, wanted, "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
        // Tables are as wide as the terminal. Lines for programs, addresses and messages are the terminal's.
        let is_table = matches!(*arguments, ["ls" | "doctor"] | ["who", _]);
        let wrapped = (0..300).find(|row| is_table && screen.parser.screen().row_wrapped(*row));
        assert_eq!(wrapped, None, "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn a_refusal_is_said_in_a_terminal_of_20_columns() {
    let url = format!("redis://127.0.0.1:{}/", free_port());
    for arguments in COMMANDS {
        for (url, status) in
            [("redsi://127.0.0.1", 64), (&url, if arguments[0] == "doctor" { 1 } else { 69 })]
        {
            let mut screen = Screen::distlock(arguments, url, 300, 20);
            assert_eq!(screen.ended().await, status, "{arguments:?}: {}", screen.text());
            let text = screen.text().replace('\n', "");
            assert!(!text.contains("panicked") && text.len() > 20, "{arguments:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_terminal_that_has_gone_ends_top_without_a_panic() {
    let server = with_a_holder().await;
    // SIGHUP would end it, so it is started to ignore that one.
    let script = "trap '' HUP; \"$0\" top; echo $? > \"$1\"";
    let file = server.directory().join("status");
    let arguments = ["-c", script, env!("CARGO_BIN_EXE_distlock"), file.to_str().expect("UTF-8")];
    let mut screen = Screen::start("sh", &arguments, &server.url(), 24, 80);
    screen.wait_for(|text| text.contains("order:42")).await;
    in_time(SOON, screen.hang_up().wait()).await.expect("a status");
    assert_eq!(std::fs::read_to_string(file).expect("the status of top"), "74\n");
}
