//! The messages that a program can show at run time, and the page that explains each of them.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ExprMethodCall, ImplItemFn, ItemFn, ItemImpl, ItemMod, Lit, LitStr, Macro,
    visit::{self, Visit},
};

use crate::Sources;

/// A text in the source that a user can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The file and line that have it.
    pub place: String,
    /// The text as it is written.
    pub text: String,
    /// The parts of the text between its holes, in their order.
    parts: Vec<String>,
    /// Whether the text is a frame around another message.
    is_frame: bool,
}

/// How many words make a text a message, where nothing else says so.
const FEWEST_WORDS: usize = 3;

/// Macros whose texts only a bug shows.
const FOR_BUGS: &[&str] =
    &["assert", "assert_eq", "assert_ne", "debug_assert", "panic", "todo", "unreachable"];

/// Macros whose texts an exporter of metrics shows.
const OF_METRICS: &[&str] = &["describe_counter", "describe_gauge", "describe_histogram"];

/// Methods whose argument only a bug shows, or which look for it in another text.
const NOT_SHOWN: &[&str] =
    &["expect", "contains", "find", "split", "split_once", "starts_with", "strip_prefix"];

/// The messages in the code of a crate, without its tests. A message is the text of an `#[error(..)]` or of a
/// line in the log, or another text of three words.
///
/// # Errors
/// A file does not parse.
pub fn of(sources: &Sources) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    for (file, source) in sources {
        let syntax = syn::parse_file(source).map_err(|error| format!("{file}: {error}"))?;
        let mut texts = Texts { file, found: Vec::new() };
        texts.visit_file(&syntax);
        messages.extend(texts.found);
    }
    Ok(messages)
}

struct Texts<'a> {
    file: &'a str,
    found: Vec<Message>,
}

impl Texts<'_> {
    /// Takes a text if it is a message.
    fn take(&mut self, text: &LitStr, is_format: bool, is_message: bool) {
        let place = format!("{}:{}", self.file, text.span().start().line);
        let value = text.value();
        let parts = if is_format { parts(&value) } else { vec![value.clone()] };
        let parts: Vec<_> = parts.iter().map(|part| one_line(part)).filter(|part| has_word(part)).collect();
        let words = value.split_whitespace().filter(|word| has_word(word)).count();
        if !parts.is_empty() && (is_message || words >= FEWEST_WORDS) {
            let is_frame = is_format && ["{reason}", "{source}"].iter().any(|hole| value.ends_with(hole));
            self.found.push(Message { place, text: one_line(&value), parts, is_frame });
        }
    }

    /// Takes the texts in a macro's arguments, without those of attributes and documentation.
    fn take_all(&mut self, tokens: TokenStream, is_message: bool) {
        let mut is_attribute = false;
        for token in tokens {
            match token {
                TokenTree::Punct(sign) if sign.as_char() == '#' => {
                    is_attribute = true;
                    continue;
                }
                TokenTree::Group(group) if !is_attribute => self.take_all(group.stream(), is_message),
                TokenTree::Literal(literal) => {
                    if let Lit::Str(text) = Lit::new(literal) {
                        self.take(&text, true, is_message);
                    }
                }
                _ => {}
            }
            is_attribute = false;
        }
    }
}

impl Visit<'_> for Texts<'_> {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if attribute.path().is_ident("error")
            && let Ok(list) = attribute.meta.require_list()
            && let Some(TokenTree::Literal(first)) = list.tokens.clone().into_iter().next()
            && let Lit::Str(text) = Lit::new(first)
        {
            self.take(&text, true, true);
        }
    }

    fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
        if NOT_SHOWN.iter().any(|method| call.method == method) {
            self.visit_expr(&call.receiver);
        } else {
            visit::visit_expr_method_call(self, call);
        }
    }

    fn visit_macro(&mut self, call: &Macro) {
        let names: Vec<_> = call.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let (Some(first), Some(last)) = (names.first(), names.last()) else { return };
        if !FOR_BUGS.contains(&&**last) && !OF_METRICS.contains(&&**last) {
            self.take_all(call.tokens.clone(), first == "tracing");
        }
    }

    fn visit_lit_str(&mut self, text: &LitStr) {
        self.take(text, false, false);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let names_test = |attribute: &&Attribute| {
        let tokens = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        attribute.path().is_ident("cfg") && (tokens == "test" || tokens.contains("(test"))
    };
    attributes.iter().any(|attribute| names_test(&attribute))
}

/// The text between the holes of a format string.
fn parts(format: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = format.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '{' | '}' if rest.peek() == Some(&char) => {
                rest.next();
                push(&mut parts, char);
            }
            '{' => {
                let _ = rest.by_ref().find(|char| *char == '}');
                parts.push(String::new());
            }
            char => push(&mut parts, char),
        }
    }
    parts
}

fn push(parts: &mut [String], char: char) {
    if let Some(last) = parts.last_mut() {
        last.push(char);
    }
}

fn has_word(text: &str) -> bool {
    text.contains(char::is_alphabetic)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// A section of the page: its heading's line, the lines of its `text` blocks, and how long the rest is.
struct Section {
    line: usize,
    shown: Vec<(usize, String)>,
    explained: usize,
}

fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section { line: 1, shown: Vec::new(), explained: 0 }];
    let mut fence: Option<bool> = None;
    for (at, text) in page.lines().enumerate() {
        let line = at + 1;
        if let Some(language) = text.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language == "text") };
        } else if fence.is_none() && text.starts_with('#') {
            sections.push(Section { line, shown: Vec::new(), explained: 0 });
        } else if let Some(section) = sections.last_mut() {
            match fence {
                Some(true) => section.shown.push((line, text.to_owned())),
                Some(false) => {}
                None => section.explained += text.len(),
            }
        }
    }
    sections
}

/// How long the explanation of a message is at least, in bytes.
const SHORTEST_EXPLANATION: usize = 60;

/// The messages that the page does not show in a `text` block, each on one line; lines there that no message
/// has; and messages without an explanation.
#[must_use]
pub fn check(messages: &[Message], name: &str, page: &str) -> Vec<String> {
    let sections = sections(page);
    let shown: Vec<_> = sections.iter().flat_map(|section| &section.shown).collect();
    let is_missing = |message: &&Message| !shown.iter().any(|(_, line)| message.is_in(line));
    let missing = messages.iter().filter(is_missing).map(|Message { place, text, .. }| {
        format!("{name}: no entry for the message at {place}; add one, with cause and way out: {text}")
    });
    let stale = shown.iter().filter(|(_, line)| {
        let in_it: Vec<_> = messages.iter().filter(|message| message.is_in(line)).collect();
        // A frame alone says nothing of what it frames.
        in_it.iter().all(|message| message.is_frame)
    });
    let stale =
        stale.map(|(at, line)| format!("{name}:{at}: no message in the source reads like this: {line}"));
    let is_bare = |section: &&Section| !section.shown.is_empty() && section.explained < SHORTEST_EXPLANATION;
    let bare = sections.iter().filter(is_bare);
    let bare = bare.map(|section| {
        format!("{name}:{}: the section shows messages; say what causes them, and what to do", section.line)
    });
    missing.chain(stale).chain(bare).collect()
}

impl Message {
    /// Whether a line shows the message, with anything in its holes.
    fn is_in(&self, line: &str) -> bool {
        let mut rest = line;
        self.parts.iter().all(|part| match rest.find(&**part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    fn found(source: &str) -> Vec<String> {
        let messages = of(&planted(&[("a.rs", source)])).unwrap();
        messages.into_iter().map(|message| message.text).collect()
    }

    #[test]
    fn messages_are_found_however_they_are_made() {
        for (source, message) in [
            ("#[derive(Error)] enum E { #[error(\"gone: {0}\", f(self))] A }", "gone: {0}"),
            ("fn f() { tracing::warn!(key = k.name(), %error, \"lost\"); }", "lost"),
            ("fn f() -> String { format!(\"it is {a:?} above {b}\") }", "it is {a:?} above {b}"),
            ("const A: &str = \"the store panicked\";", "the store panicked"),
            ("fn f() { g(\"one text \\\n over two lines\") }", "one text over two lines"),
            ("pin_project! { fn f() { g(format!(\"x is not y\")) } }", "x is not y"),
        ] {
            assert_eq!(found(source), [message], "{source}");
        }
    }

    #[test]
    fn other_texts_are_no_messages() {
        for source in [
            "fn f() { g(\"HELLO\"); g(\"two words\"); }",
            "/// Some words of documentation.\nfn f() {}",
            "pin_project! { /// Some words of documentation.\n struct S; }",
            "#[must_use = \"a reason of five words\"] fn f() {}",
            "fn f() { x.split(\"text of a server\").expect(\"a reason of five words\"); assert!(y, \"another one of six words\"); }",
            "#[cfg(test)] mod tests { fn f() { g(\"text of a test\") } }",
            "#[cfg(all(test, feature = \"redis\"))] fn f() { g(\"text of a test\") }",
        ] {
            assert_eq!(found(source), [""; 0], "{source}");
        }
    }

    const SOURCE: &str = "#[error(\"lock failed: {source}\")] struct E;\n\
                          fn f() { format!(\"it has {n} bytes, and `{{x}}` is wrong\"); }";

    fn complaints(page: &str) -> Vec<String> {
        check(&of(&planted(&[("a.rs", SOURCE)])).unwrap(), "page.md", page)
    }

    const EXPLANATION: &str = "The key is too long, which is because of this or that. Write another one.\n";

    #[test]
    fn a_page_that_shows_and_explains_every_message_is_fine() {
        let page =
            format!("# A\n```text\nlock failed: it has 12 bytes, and `{{x}}` is wrong\n```\n{EXPLANATION}");
        assert_eq!(complaints(&page), [""; 0]);
    }

    #[test]
    fn a_message_without_an_entry_goes_red() {
        let page = format!("# A\n```text\nlock failed: it has 12 bytes\n```\n{EXPLANATION}");
        let said = complaints(&page);
        assert!(said[0].starts_with("page.md: no entry for the message at a.rs:2; add one"), "{said:?}");
        assert!(said[0].ends_with(": it has {n} bytes, and `{{x}}` is wrong"), "{said:?}");
        // The frame is there, and what is in it is not.
        assert_eq!(
            said[1..],
            ["page.md:3: no message in the source reads like this: lock failed: it has 12 bytes"]
        );
    }

    #[test]
    fn an_entry_without_an_explanation_goes_red() {
        let said = complaints("# A\n```text\nlock failed: it has 12 bytes, and `{x}` is wrong\n```\nWell.\n");
        assert_eq!(said, ["page.md:1: the section shows messages; say what causes them, and what to do"]);
    }
}
