//! The events that the source logs, and the table of them on a page.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Lit, Macro,
    visit::{self, Visit},
};

use crate::Sources;

/// The file that alone may log.
pub const LOG: &str = "events/log.rs";

/// An event: its level, as `WARN`, and its message.
pub type Event = (String, String);

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

struct Logged<'a> {
    file: &'a str,
    found: BTreeSet<Event>,
    complaints: Vec<String>,
}

impl Visit<'_> for Logged<'_> {
    fn visit_macro(&mut self, call: &Macro) {
        let names: Vec<_> = call.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let level = names.last().filter(|name| names[0] == "tracing" && LEVELS.contains(&name.as_str()));
        if let Some(level) = level {
            let line = call.path.segments[0].ident.span().start().line;
            if !self.file.ends_with(LOG) {
                self.complaints.push(format!("{}:{line}: log by a function of {LOG}", self.file));
            }
            match last_text(call.tokens.clone()) {
                Some(message) => _ = self.found.insert((level.to_uppercase(), message)),
                None => self.complaints.push(format!("{}:{line}: the event has no message", self.file)),
            }
        }
        visit::visit_macro(self, call);
    }
}

/// The message is the last text of the macro's arguments.
fn last_text(tokens: TokenStream) -> Option<String> {
    let last = tokens.into_iter().last()?;
    let TokenTree::Literal(literal) = last else { return None };
    if let Lit::Str(text) = Lit::new(literal) { Some(text.value()) } else { None }
}

/// The events that a crate logs.
///
/// # Errors
/// What is logged elsewhere than in [`LOG`] or without a message; a file that does not parse.
pub fn of_source(sources: &Sources) -> Result<BTreeSet<Event>, Vec<String>> {
    let (mut found, mut complaints) = (BTreeSet::new(), Vec::new());
    for (file, source) in sources {
        let syntax = syn::parse_file(source).map_err(|error| vec![format!("{file}: {error}")])?;
        let mut logged = Logged { file, found: BTreeSet::new(), complaints: Vec::new() };
        logged.visit_file(&syntax);
        found.append(&mut logged.found);
        complaints.append(&mut logged.complaints);
    }
    if complaints.is_empty() { Ok(found) } else { Err(complaints) }
}

/// The events in the tables of a page: rows that begin with a level and a message between back-quotes.
#[must_use]
pub fn of_page(page: &str) -> BTreeSet<Event> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let level = cells.next().filter(|level| LEVELS.contains(&level.to_lowercase().as_str()))?;
        // A message may have back-quotes of its own, and then stands between two of them.
        let message = cells.next()?.trim_matches('`').trim();
        Some((level.to_owned(), message.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

/// Says how a page's table and the source differ.
#[must_use]
pub fn differences(source: &BTreeSet<Event>, page: &BTreeSet<Event>) -> Vec<String> {
    let missing = source.difference(page).map(|(level, text)| format!("add the row | {level} | `{text}` |"));
    let stale = page.difference(source).map(|(level, text)| format!("no such event: {level} `{text}`"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    const TABLE: &str =
        "| level | message |\n| --- | --- |\n| WARN | `lock lost` | reason |\n\n| DEBUG | `` a `b` `` |\n";

    #[test]
    fn the_table_is_compared_with_the_source() {
        let source = planted(&[(
            "events/log.rs",
            r#"fn f() { tracing::warn!(key, "lock lost"); tracing::debug!("a `b`"); }"#,
        )]);
        let source = of_source(&source).unwrap();
        assert_eq!(differences(&source, &of_page(TABLE)), [""; 0]);
        assert_eq!(differences(&source, &BTreeSet::new()).len(), 2);
        assert_eq!(differences(&BTreeSet::new(), &of_page(TABLE)).len(), 2);
    }

    #[test]
    fn an_event_elsewhere_is_found() {
        let source = planted(&[("a.rs", r#"fn f() { tracing::warn!("lock lost"); }"#)]);
        assert_eq!(of_source(&source).unwrap_err(), ["a.rs:1: log by a function of events/log.rs"]);
    }
}
