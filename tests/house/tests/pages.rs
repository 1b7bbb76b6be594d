//! The pages for users are complete: every message has its entry, every link leads somewhere, and the code of
//! every page is compiled.

use std::{collections::BTreeSet, fs, path::Path};

use house::{
    events, messages, metrics,
    pages::{self, Pages},
    read, root,
};

const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", complaints.len(), complaints.join("\n"));
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn exists(path: &str) -> bool {
    root().join(Path::new(path)).exists()
}

/// The README and the pages below `docs/`.
fn all_pages() -> Pages {
    let docs = read(&root().join("docs"), "md").into_iter();
    let mut pages: Pages = docs.map(|(name, text)| (format!("docs/{name}"), text)).collect();
    pages.insert("README.md".to_owned(), text("README.md"));
    pages
}

#[test]
fn every_message_of_a_running_program_is_explained() {
    let page = text(TROUBLESHOOTING);
    let mut found = Vec::new();
    for folder in ["distlock-core/src", "src"] {
        for mut message in messages::of(&read(&root().join(folder), "rs")).unwrap() {
            message.place = format!("{folder}/{}", message.place);
            found.push(message);
        }
    }
    assert!(found.len() > 50, "the messages are found: {found:?}");
    none(&messages::check(&found, TROUBLESHOOTING, &page));
}

#[test]
fn the_table_of_events_is_that_of_the_source() {
    let page = "docs/operations.md";
    let logged = |folder: &str| match events::of_source(&read(&root().join(folder), "rs")) {
        Ok(events) => events,
        Err(complaints) => panic!("{folder}: {complaints:#?}"),
    };
    let mut source = logged("distlock-core/src");
    source.extend(logged("src"));
    none(&events::differences(&source, &events::of_page(&text(page))));
}

#[test]
fn the_pages_the_dashboard_and_the_alerts_name_the_metrics_of_the_source() {
    let core = read(&root().join("distlock-core/src/events"), "rs");
    let source: BTreeSet<_> = core.values().flat_map(|source| metrics::names(source)).collect();
    assert!(source.len() >= 12, "the metrics are found: {source:?}");
    let page = "docs/operations.md";
    assert_eq!(metrics::names(&text(page)), source, "the table in {page}");
    for file in ["docs/grafana-dashboard.json", "docs/alerts.yml"] {
        let unknown: Vec<_> = metrics::names(&text(file)).difference(&source).cloned().collect();
        assert!(unknown.is_empty(), "{file} names metrics that do not exist: {unknown:?}");
    }
    // Each metric can be seen.
    assert_eq!(metrics::names(&text("docs/grafana-dashboard.json")), source);
    serde_json::from_str::<serde_json::Value>(&text("docs/grafana-dashboard.json")).expect("JSON");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    none(&pages::broken_links(&all_pages(), exists));
}

#[test]
fn the_code_of_every_page_is_compiled() {
    let guide = text("src/guide.rs");
    let is_left_out = |file: &&String| {
        file.strip_prefix("docs/").is_some_and(|page| !guide.contains(&format!("\"../docs/{page}\"")))
    };
    let pages = all_pages();
    let left_out = pages.keys().filter(is_left_out);
    none(&left_out.map(|file| format!("src/guide.rs: include {file}")).collect::<Vec<_>>());
    let ignored =
        pages.iter().filter(|(_, text)| text.lines().any(|line| line.starts_with("```rust,ignore")));
    none(&ignored.map(|(file, _)| format!("{file}: a block is ignored; let it compile")).collect::<Vec<_>>());
}

#[test]
fn the_readme_is_short_and_reads_on_a_package_page() {
    let readme = text("README.md");
    let lines = readme.lines().count();
    assert!(lines <= 120, "README.md has {lines} lines, and at most 120 are allowed; move some to docs/");
    none(&pages::links_that_need_the_repository("README.md", &readme));
    none(&pages::unknown_files("README.md", &readme, exists));
    let pages = all_pages();
    let unnamed = pages.keys().filter(|file| file.starts_with("docs/") && !readme.contains(&**file));
    none(&unnamed.map(|file| format!("README.md: name {file} in the table of pages")).collect::<Vec<_>>());
}
