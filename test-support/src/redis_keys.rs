//! Names of the keys that distlock keeps on a server beside a lock, for tests that look at them or change
//! them.

/// Returns the name of the key with the wait queue of a lock, for instance of `lock:order:42`.
pub fn wait_queue_key(lock: &str) -> String {
    format!("distlock-line:{{{lock}}}")
}

/// Returns the name of the key with the fencing counter of a lock, for instance of `lock:order:42`.
pub fn fencing_counter_key(lock: &str) -> String {
    format!("distlock-fence:{{{lock}}}")
}
