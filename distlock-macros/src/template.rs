//! Parses the key template, which consists of text and holes (the placeholders `{..}`).

use proc_macro2::Span;
use syn::{Error, LitStr, Result};

pub(crate) use crate::hole::Hole;
use crate::{args::Errors, bindings::Bindings, hole, limits::MAX_KEY_BYTES, lookalikes};

/// A piece of a checked template.
pub(crate) enum Piece {
    Text(String),
    Hole(Hole),
}

/// Parses a template, and checks its names against the function's arguments.
///
/// # Errors
/// All mistakes in the template, combined into one error. The place of each is the whole literal.
pub(crate) fn parse(literal: &LitStr, bindings: &Bindings) -> Result<Vec<Piece>> {
    let mut template = Template { pieces: Vec::new(), errors: Errors::default(), span: literal.span() };
    template.read(&literal.value(), bindings);
    template.check_length();
    template.check_text(bindings);
    let Template { mut pieces, errors, .. } = template;
    if let Some(error) = errors.0 {
        return Err(error);
    }
    // Tell each hole the character that follows it.
    let mut follower = None;
    for piece in pieces.iter_mut().rev() {
        match piece {
            Piece::Text(text) => follower = text.chars().next(),
            Piece::Hole(hole) => hole.follower = follower.take(),
        }
    }
    Ok(pieces)
}

/// A template while it is parsed.
struct Template {
    pieces: Vec<Piece>,
    errors: Errors,
    /// The place of the literal.
    span: Span,
}

impl Template {
    fn wrong(&mut self, what: impl Into<String>) {
        self.errors.push(Error::new(self.span, what.into()));
    }

    fn read(&mut self, text: &str, bindings: &Bindings) {
        if text.is_empty() {
            self.wrong(
                "the key template is empty, so that every call would share one lock; \
                 write `key = \"order:{order_id}\"`",
            );
        }
        let mut rest = text;
        // Whether a hole has ended here, even if it has a mistake.
        let mut after_hole = false;
        while let Some(at) = rest.find(['{', '}']) {
            self.push_text(&rest[..at]);
            after_hole &= at == 0;
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                self.push_text("{");
                (rest, after_hole) = (after, false);
            } else if let Some(after) = rest.strip_prefix("}}") {
                self.push_text("}");
                (rest, after_hole) = (after, false);
            } else if let Some(after) = rest.strip_prefix('}') {
                self.wrong("a `}` without its `{` in the key template; write `}}` for a literal brace");
                (rest, after_hole) = (after, false);
            } else {
                match hole::end(rest) {
                    Ok(close) => {
                        self.read_hole(&rest[..=close], after_hole, bindings);
                        (rest, after_hole) = (&rest[close + 1..], true);
                    }
                    Err(unclosed) => {
                        self.wrong(unclosed);
                        return;
                    }
                }
            }
        }
        self.push_text(rest);
    }

    /// Parses a hole with its braces.
    fn read_hole(&mut self, braced: &str, after_hole: bool, bindings: &Bindings) {
        if after_hole {
            self.wrong(format!(
                "two values with nothing between them in the key template, \
                 so that 1 and 23 would share a lock with 12 and 3; write a separator: `:{braced}`"
            ));
        }
        if let Some(Piece::Text(text)) = self.pieces.last()
            && text.ends_with('$')
        {
            self.wrong(lookalikes::after_dollar(braced));
        }
        let parsed = hole::parse(&braced[1..braced.len() - 1], self.span, bindings);
        if let Some(hole) = self.errors.take(parsed) {
            self.pieces.push(Piece::Hole(hole));
        }
    }

    /// Appends text, joined to the text before it.
    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// Checks that the text does not look like a value.
    fn check_text(&mut self, bindings: &Bindings) {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(lookalikes::in_template(text, bindings)),
            Piece::Hole(_) => None,
        });
        for message in texts.flatten().collect::<Vec<_>>() {
            self.wrong(message);
        }
    }

    /// Checks that the text alone is no longer than a key.
    fn check_length(&mut self) {
        let texts =
            self.pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 });
        let bytes: usize = texts.sum();
        if bytes > MAX_KEY_BYTES {
            self.wrong(format!(
                "the text of the key template has {bytes} bytes, and a key has at most {MAX_KEY_BYTES}; \
                 write a shorter text"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<String, String> {
        let bindings = Bindings::of_names(&["order_id", "order", "v", "i", "self", "type"]);
        parse(&LitStr::new(text, Span::call_site()), &bindings)
            .map(|pieces| {
                let show = |piece: &Piece| match piece {
                    Piece::Text(text) => format!("[{text}]"),
                    Piece::Hole(hole) => format!("<{}|{}|{:?}>", hole.value, hole.spec, hole.follower),
                };
                pieces.iter().map(show).collect()
            })
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_template_is_split_into_text_and_holes() {
        assert_eq!(parsed("nightly").unwrap(), "[nightly]");
        assert_eq!(parsed("order:{order_id}").unwrap(), "[order:]<order_id||None>");
        assert_eq!(parsed("{order_id:>5}:{i:?}!").unwrap(), "<order_id|:>5|Some(':')>[:]<i|:?|Some('!')>[!]");
        assert_eq!(parsed("{{{order_id}}}").unwrap(), "[{]<order_id||Some('}')>[}]");
        assert_eq!(parsed("{order_id}}}{i}").unwrap(), "<order_id||Some('}')>[}]<i||None>");
        assert_eq!(parsed("{order.items[0].sku}").unwrap(), "<order . items [0] . sku||None>");
        assert_eq!(
            parsed("{self.user().id}/{v[i]}").unwrap(),
            "<self . user () . id||Some('/')>[/]<v [i]||None>"
        );
        assert_eq!(parsed("{Self::TENANT}-{N}").unwrap(), "<Self :: TENANT||Some('-')>[-]<N||None>");
    }

    #[test]
    fn keywords_are_names_after_a_dot_and_as_arguments() {
        assert_eq!(parsed("{type}").unwrap(), "<r#type||None>");
        assert_eq!(parsed("{type.id}").unwrap(), "<r#type . id||None>");
        assert_eq!(parsed("{order.type.gen}").unwrap(), "<order . r#type . r#gen||None>");
        assert_eq!(parsed("{order.match(type)}").unwrap(), "<order . r#match (r#type)||None>");
        assert_eq!(parsed("{v[..self.len]}").unwrap(), "<v [.. self . len]||None>");
        assert_eq!(parsed("{super::TENANT}").unwrap(), "<super :: TENANT||None>");
    }

    #[test]
    fn quotation_marks_and_brackets_in_a_hole_may_contain_braces_and_colons() {
        for text in [
            r#"{v["}"]}"#,
            r#"{v["\"}:"]}"#,
            "{v['}']}",
            r"{v['\'']}",
            r##"{v[r#""}"#]}"##,
            "{v[{ i }]}",
            "{order.tag::<'static, u8>(':')}",
        ] {
            let hole = parsed(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hole.starts_with('<') && hole.ends_with("||None>"), "{text}: {hole}");
        }
    }

    #[test]
    fn every_format_with_its_own_width_is_taken() {
        for format in
            ["?", "*>8", "#<8", "$^8", ":>8", ":<8", ">8", "+08.3", "#010x", "-5.1e", ".2", "#?", "x?", "? "]
        {
            let hole = format!("{{i:{format}}}");
            assert!(parsed(&hole).is_ok(), "{hole}: {:?}", parsed(&hole));
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = parsed("{}:{0}:{oder_id}:{i:y}{order.await}}").unwrap_err();
        assert_eq!(errors.lines().count(), 7, "{errors}");
    }

    #[test]
    fn text_longer_than_a_key_is_refused() {
        assert!(parsed(&"x".repeat(4096)).is_ok());
        assert!(parsed(&"x".repeat(4097)).unwrap_err().contains("4097 bytes, and a key has at most 4096"));
        assert!(parsed(&format!("{}{{i}}x", "x".repeat(4096))).is_err());
    }

    #[test]
    fn text_that_looks_like_a_value_is_refused() {
        for (text, part) in [
            ("{{order_id}}", "`{{{order_id}}}` for the value in braces"),
            ("{{ order.id:03 }}", "write `{order.id:03}`"),
            ("{{self.tenant}}:{i}", "write `{self.tenant}`"),
            ("#order.id.", "write `{order.id}`"),
            ("$order_id", "write `{order_id}`"),
            ("${order_id}", "write `{order_id}`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part) && error.lines().count() == 1, "{text}: {error}");
        }
        for text in
            ["{{orders}}", "{{order_id", "#orders", "#{order_id}", "{order_id}$", "$5:{i}", "order_id"]
        {
            assert!(parsed(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        for (text, part) in [
            ("", "is empty"),
            ("a{", "never closed"),
            ("a}", "without its `{`"),
            ("{}", "name the value"),
            ("{0}", "is a position"),
            ("{order_id}{i}", "nothing between"),
            ("{oder_id}", "did you mean `{order_id}`?"),
            ("{order_id:width$}", "width or precision"),
            ("{1 + 1}", "not a name"),
            ("{order.await}", "waits for a future"),
            ("{order.await.id}", "waits for a future"),
            ("{&order_id}", "without `&`"),
            ("{*order_id}", "without `&`"),
            ("{\"order\"}", "is a literal"),
            ("{\"order\": 1}", "is a literal"),
            ("{v[\"}", "quotation mark"),
            ("{order_id:y}", "is not known"),
            ("{order_id:.*}", "width or precision"),
            ("{order_id:{>8}", "a brace as its fill"),
            ("{super.id}", "not an argument"),
            ("{order_id + 1}", "not a name"),
            ("{(}", "not a name"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
