//! What a placeholder of the key template may contain.

use std::{collections::HashMap, fmt};

use distlock::{LockError, distributed_lock};

use crate::{AppResult, with_fresh_manager};

struct Event {
    r#type: &'static str,
    r#gen: u8,
}

impl Event {
    fn r#match(&self, r#type: u8) -> String {
        format!("{}{}", self.r#type, r#type)
    }

    fn quoted<'a>(&self, mark: char, text: &'a str) -> impl fmt::Display + use<'a> {
        format!("{mark}{text}{mark}{}", self.r#type)
    }
}

#[distributed_lock(key = "{event.type}/{event.gen}/{event.match(type)}/{gen}/{type}", guard = lock)]
async fn keywords(event: &Event, r#type: u8, r#gen: u8) -> Result<String, LockError> {
    let _ = (event, r#type, r#gen);
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = r#"{prices["}"]}/{prices[":{"]:>3}/{event.quoted('\'', "::}")}/{event.quoted('}', "x")}"#, guard = lock)]
async fn quotation_marks(prices: &HashMap<String, u8>, event: &Event) -> AppResult<String> {
    let _ = (prices, event);
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "{id:*>8}/{id:#^5}/{id:+}/{id:04}/{text:.2}/{text:?}/{id:x?}/{id:$<3}|", guard = lock)]
async fn formats(id: u8, text: &str) -> AppResult<String> {
    let _ = (id, text);
    Ok(lock.key().to_owned())
}

const FIRST: usize = 0;

#[distributed_lock(key = "{parts[FIRST]}/{parts[at + 1]}/{parts[at..][0].len()}/{parts.get(0).map_or(\"\", |part| &part[1..])}", guard = lock)]
async fn names_in_scope(parts: &[&str], at: usize) -> AppResult<String> {
    let _ = (parts, at);
    Ok(lock.key().to_owned())
}

const TEMPLATE: &str = "order:{id}";

/// A literal text in braces comes from a constant.
#[distributed_lock(key = "{{{HASH_TAG}}}:{id}", guard = lock)]
async fn text_in_braces(id: u8) -> AppResult<String> {
    let _ = id;
    Ok(lock.key().to_owned())
}

const HASH_TAG: &str = "id";

/// The expression uses `id`, so its text is a template of its own.
#[distributed_lock(key = TEMPLATE.to_owned() + &"{id}".replace("{id}", &id.to_string()), guard = lock)]
async fn own_template(id: u8) -> AppResult<String> {
    let _ = id;
    Ok(lock.key().to_owned())
}

#[tokio::test]
async fn keywords_may_be_names_in_placeholders() {
    with_fresh_manager(|_| async {
        let event = Event { r#type: "paid", r#gen: 3 };
        assert_eq!(keywords(&event, 1, 2).await.unwrap(), "paid/3/paid1/2/1");
    })
    .await;
}

#[tokio::test]
async fn quotation_marks_in_placeholders_may_contain_braces() {
    with_fresh_manager(|_| async {
        let prices = HashMap::from([("}".to_owned(), 1), (":{".to_owned(), 2)]);
        let event = Event { r#type: "", r#gen: 0 };
        let key = quotation_marks(&prices, &event).await.unwrap();
        assert_eq!(key, "1/  2/'::%7D'/%7Dx%7D");
    })
    .await;
}

#[tokio::test]
async fn every_format_is_taken() {
    with_fresh_manager(|_| async {
        assert_eq!(formats(7, "text").await.unwrap(), "*******7/##7##/+7/0007/te/\"text\"/7/7$$|");
    })
    .await;
}

#[tokio::test]
async fn placeholders_may_use_every_name_in_scope() {
    with_fresh_manager(|_| async {
        assert_eq!(names_in_scope(&["ab", "cde"], 0).await.unwrap(), "ab/cde/2/b");
        assert_eq!(text_in_braces(5).await.unwrap(), "{id}:5");
        assert_eq!(own_template(5).await.unwrap(), "order:{id}5");
    })
    .await;
}
