//! Examples, run by tests.

use std::process::Command;

/// Prepares to run the example of this name, which cargo has built beside the calling test. `DISTLOCK_URL` is
/// removed from its environment.
///
/// # Panics
///
/// If the example was not built: `cargo test` builds the examples, `cargo test --test name` does not.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("the path of this test");
    // The test is in `deps`, beside `examples`.
    let profile = test.ancestors().nth(2).expect("the directory of the build profile");
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo test` builds the examples, `cargo test --test name` does not",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_remove("DISTLOCK_URL");
    command
}
