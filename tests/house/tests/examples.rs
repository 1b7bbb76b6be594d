//! The examples in the documentation of the core are written for users of `distlock`, and the items that a
//! user looks up have one.

use house::{read, root};

/// The items that a user looks up, as they begin in their file. `set_default`, `with_manager` and the
/// attribute have their examples in the facade, which has the attribute.
const LOOKED_UP: [(&str, &str); 40] = [
    ("distlock-core/src/error/mod.rs", "pub enum LockError"),
    ("distlock-core/src/error/store.rs", "pub struct StoreError"),
    ("distlock-core/src/guard/mod.rs", "pub struct LockGuard"),
    ("distlock-core/src/guard/mod.rs", "pub fn fencing_token"),
    ("distlock-core/src/guard/mod.rs", "pub fn is_held"),
    ("distlock-core/src/guard/mod.rs", "pub async fn lost"),
    ("distlock-core/src/guard/mod.rs", "pub async fn renew"),
    ("distlock-core/src/guard/mod.rs", "pub fn run"),
    ("distlock-core/src/manager/builder.rs", "pub async fn connect(url"),
    ("distlock-core/src/manager/builder.rs", "pub fn in_memory"),
    ("distlock-core/src/manager/builder.rs", "pub fn quorum"),
    ("distlock-core/src/manager/builder.rs", "pub fn store"),
    ("distlock-core/src/manager/builder.rs", "pub struct LockManagerBuilder"),
    ("distlock-core/src/manager/handle.rs", "pub async fn drain"),
    ("distlock-core/src/manager/handle.rs", "pub async fn shutdown"),
    ("distlock-core/src/manager/handle.rs", "pub struct LockManager"),
    ("distlock-core/src/request.rs", "pub async fn acquire"),
    ("distlock-core/src/request.rs", "pub async fn run"),
    ("distlock-core/src/request.rs", "pub async fn try_acquire"),
    ("distlock-core/src/request.rs", "pub fn at_least"),
    ("distlock-core/src/request.rs", "pub fn blocking_acquire"),
    ("distlock-core/src/request.rs", "pub fn fair"),
    ("distlock-core/src/request.rs", "pub fn fenced"),
    ("distlock-core/src/request.rs", "pub fn lock"),
    ("distlock-core/src/request.rs", "pub fn max_hold"),
    ("distlock-core/src/request.rs", "pub fn on_lost"),
    ("distlock-core/src/request.rs", "pub fn release"),
    ("distlock-core/src/request.rs", "pub fn renew"),
    ("distlock-core/src/request.rs", "pub fn ttl"),
    ("distlock-core/src/request.rs", "pub fn wait("),
    ("distlock-core/src/request.rs", "pub fn wait_forever"),
    ("distlock-core/src/store/contract.rs", "pub trait Store"),
    ("distlock-core/src/store/memory.rs", "pub struct MemoryStore"),
    ("distlock-core/src/store/quorum/mod.rs", "pub struct QuorumStore"),
    ("distlock-core/src/testing/mod.rs", "pub struct TestLocks"),
    ("distlock-core/src/token/mod.rs", "pub struct FencingToken"),
    ("src/lib.rs", "pub use distlock_core::LockLayer;"),
    ("src/lib.rs", "pub use distlock_core::set_default;"),
    ("src/lib.rs", "pub use distlock_core::with_manager;"),
    ("src/lib.rs", "pub use distlock_macros::distributed_lock;"),
];

/// The lines of documentation above the line that begins with `item`.
fn documentation(source: &str, item: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(item)).unwrap_or_else(|| panic!("no `{item}`"));
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    above.filter_map(|line| line.strip_prefix("///")).map(str::to_owned).collect()
}

#[test]
fn what_a_user_looks_up_has_an_example() {
    for (file, item) in LOOKED_UP {
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        let has_example = documentation(&source, item).iter().any(|line| line.trim() == "```");
        assert!(has_example, "{file}: give `{item}` an example");
    }
}

#[test]
fn examples_are_written_for_users_of_distlock() {
    // The page of the core itself is for those who use the core itself.
    let core = read(&root().join("distlock-core/src"), "rs").into_iter().filter(|(file, _)| file != "lib.rs");
    for (file, source) in core {
        let mut is_example = false;
        for (at, line) in source.lines().enumerate() {
            let Some(line) = line.trim().strip_prefix("///") else {
                is_example = false;
                continue;
            };
            let line = line.trim();
            is_example ^= line.starts_with("```");
            let is_shown = is_example && !line.starts_with("# ");
            assert!(
                !is_shown || !line.contains("distlock_core"),
                "{file}:{}: write `distlock` in an example, below a hidden line `# extern crate distlock_core as \
                 distlock;`",
                at + 1
            );
        }
    }
}
