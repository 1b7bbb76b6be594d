//! What is wrong with a call is one clear line and a status.

use test_support::RedisServer;

use crate::process::{answer, distlock, distlock_at};

#[tokio::test]
async fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    for (arguments, said) in [
        (&["run", "order:42"][..], "distlock run [OPTIONS] <KEY> -- <COMMAND>"),
        (&["run", "order:42", "--ttl", "1.5s", "--", "true"], "it has a fraction; write whole seconds"),
        (&["run", "order:42", "--wait", "soon", "--", "true"], "write whole seconds"),
        (&["walk"], "unrecognized subcommand 'walk'"),
        (
            &["run", "order:42", "--", "true"],
            "no URL was given; write `--url redis://host`, or set DISTLOCK_URL",
        ),
        (
            &["run", "--url", "redsi://127.0.0.1", "order:42", "--", "true"],
            "the URL's scheme `redsi` is not known",
        ),
        (&["run", "--url", "redis://127.0.0.1/?tll=1", "order:42", "--", "true"], "did you mean `ttl`?"),
    ] {
        let answer = answer(&mut distlock(arguments)).await;
        assert_eq!(answer.status, 64, "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(said), "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "");
    }
}

#[tokio::test]
async fn a_key_or_a_ttl_that_cannot_be_used_is_refused() {
    let server = RedisServer::start();
    for (arguments, said) in [
        (["run", "", "--ttl", "1s", "--", "true"], "invalid lock key"),
        (["run", "order:42", "--ttl", "1ms", "--", "true"], "invalid ttl 1ms"),
    ] {
        let answer = answer(&mut distlock_at(&server.url(), &arguments)).await;
        assert_eq!(answer.status, 64, "{}", answer.stderr);
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    }
}

#[tokio::test]
async fn help_is_written_to_standard_output() {
    let answer = answer(&mut distlock(&["run", "--help"])).await;
    assert_eq!(answer.status, 0);
    for said in ["DISTLOCK_FENCE", "On resuming it kills the process group at once", "kill -9"] {
        assert!(answer.stdout.contains(said), "{}", answer.stdout);
    }
}
