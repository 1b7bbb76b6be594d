//! The functions lock as they do with the usual name.

#[tokio::test]
async fn a_renamed_and_a_re_exported_attribute_lock() {
    let locks = mutexes::LockManager::in_memory();
    assert_eq!(renamed::renamed(&locks, 1).await.unwrap(), 1);
    assert_eq!(renamed::re_exported(&locks, 2).await.unwrap(), 2);
    let _held = locks.lock("platform:2").acquire().await.unwrap();
    assert!(renamed::re_exported(&locks, 2).await.is_err());
}
