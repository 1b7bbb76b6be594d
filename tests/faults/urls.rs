//! A URL that is not understood is refused without its password.

use distlock::LockManager;

#[test]
fn a_url_without_a_scheme_is_refused_without_its_password() {
    for url in ["user:hunter2@localhost", "redis:user:hunter2@localhost", "//user:hunter2@localhost/"] {
        let error = LockManager::builder().url(url).build().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && shown.contains("redis://"), "{shown}");
    }
}
