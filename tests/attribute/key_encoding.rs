//! With one template, two lists of values get the same key only if all values print the same.

use distlock::{LockError, LockManager, distributed_lock};

type Key = Result<String, LockError>;

#[distributed_lock(key = "{a}:{b}", guard = lock, locks = locks)]
async fn colon(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "x{a}%{b}}}", guard = lock, locks = locks)]
async fn percent(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

/// A literal `%` looks like the beginning of an escape.
#[distributed_lock(key = "{a}%25{b}%", guard = lock, locks = locks)]
async fn percent_code(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "{{{a}}}-{b:?}", guard = lock, locks = locks)]
async fn braces(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "{a}\u{e9}{b:>3}", guard = lock, locks = locks)]
async fn multibyte(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "{a}2{b}", guard = lock, locks = locks)]
async fn digit(locks: &LockManager, a: &str, b: &str) -> Key {
    Ok(lock.key().to_owned())
}

/// A random text, mostly of characters with a meaning in a key or a template.
fn text(random: &mut fastrand::Rng) -> String {
    const PIECES: [&str; 14] =
        [":", "%", "{", "}", "\n", "\u{e9}", "\u{1f512}", "\0", "2", "3A", "~25", "5", "-", "a"];
    (0..random.usize(0..4)).map(|_| PIECES[random.usize(0..PIECES.len())]).collect()
}

#[tokio::test]
async fn different_values_get_different_keys() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let locks = LockManager::in_memory();
    let mut seen = [const { Vec::<(String, (String, String))>::new() }; 6];
    for _ in 0..8000 {
        let (a, b) = (text(&mut random), text(&mut random));
        let keys = [
            colon(&locks, &a, &b).await.unwrap(),
            percent(&locks, &a, &b).await.unwrap(),
            percent_code(&locks, &a, &b).await.unwrap(),
            braces(&locks, &a, &b).await.unwrap(),
            multibyte(&locks, &a, &b).await.unwrap(),
            digit(&locks, &a, &b).await.unwrap(),
        ];
        for (seen, key) in seen.iter_mut().zip(keys) {
            seen.push((key, (a.clone(), b.clone())));
        }
    }
    for (template, mut seen) in seen.into_iter().enumerate() {
        seen.sort_unstable();
        seen.dedup();
        // `{b:>3}` pads: values that print the same may have the same key.
        let printed = |(a, b): &(String, String)| {
            (a.clone(), if template == 4 { format!("{b:>3}") } else { b.clone() })
        };
        for pair in seen.windows(2) {
            let ((one_key, one), (two_key, two)) = (&pair[0], &pair[1]);
            assert!(
                one_key != two_key || printed(one) == printed(two),
                "template {template}: {one:?} and {two:?} share {one_key:?}"
            );
        }
    }
}

#[tokio::test]
async fn ordinary_values_are_not_escaped() {
    let locks = LockManager::in_memory();
    for value in
        ["42", "ada@example.org", "/etc/hosts", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "Zo\u{eb} O'Neil"]
    {
        assert_eq!(colon(&locks, value, value).await.unwrap(), format!("{value}:{value}"));
    }
}
