//! The tokens of a Lua script.

/// A token and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// As it is written; the contents of a string or comment, without its signs.
    pub text: String,
    /// The line on which it begins.
    pub line: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or a word of the language.
    Name,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A comment.
    Comment,
    /// One character of anything else.
    Sign,
}

impl Token {
    /// Whether it is this name or sign.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Name | Kind::Sign) && self.text == text
    }
}

/// Takes a script apart.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1, tokens: Vec::new() };
    while reader.next_token() {}
    reader.tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn next_token(&mut self) -> bool {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.skip(blank);
        let Some(first) = self.rest.chars().next() else { return false };
        if let Some(comment) = self.rest.strip_prefix("--") {
            match long_bracket(comment) {
                Some((open, length, close)) => {
                    self.push(Kind::Comment, 2 + open, length);
                    self.skip(close);
                }
                None => self.push(Kind::Comment, 2, comment.find('\n').unwrap_or(comment.len())),
            }
        } else if let Some((open, length, close)) = long_bracket(self.rest) {
            self.push(Kind::Text, open, length);
            self.skip(close);
        } else if matches!(first, '"' | '\'') {
            let length = text_length(&self.rest[1..], first);
            self.push(Kind::Text, 1, length);
            self.skip(1.min(self.rest.len()));
        } else if first.is_ascii_digit() {
            let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '.';
            self.push(Kind::Number, 0, self.rest.find(|sign| !is_part(sign)).unwrap_or(self.rest.len()));
        } else if is_name(first) {
            self.push(Kind::Name, 0, self.rest.find(|sign| !is_name(sign)).unwrap_or(self.rest.len()));
        } else {
            self.push(Kind::Sign, 0, first.len_utf8());
        }
        true
    }

    /// Takes a token that begins behind `open` characters and has this many.
    fn push(&mut self, kind: Kind, open: usize, length: usize) {
        let text = self.rest[open..open + length].to_owned();
        self.tokens.push(Token { kind, text, line: self.line });
        self.skip(open + length);
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }
}

fn is_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

/// The lengths of `[==[`, of what is in it, and of `]==]`.
fn long_bracket(text: &str) -> Option<(usize, usize, usize)> {
    let level = text.strip_prefix('[')?.chars().take_while(|sign| *sign == '=').count();
    let inside = text[1 + level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let (length, close) = inside.find(&close).map_or((inside.len(), 0), |at| (at, close.len()));
    Some((level + 2, length, close))
}

/// The length of a string up to its closing quote.
fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices() {
        if sign == quote && !escaped {
            return at;
        }
        escaped = sign == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_taken_apart() {
        let source = "-- first\nlocal a1 = 'x\\'y' .. \"--z\" --[[ long\n]] + 0x1F\n[==[ ]] ]==]a[1]";
        let found: Vec<_> =
            tokens(source).into_iter().map(|token| (token.kind, token.text, token.line)).collect();
        let expected = [
            (Kind::Comment, " first", 1),
            (Kind::Name, "local", 2),
            (Kind::Name, "a1", 2),
            (Kind::Sign, "=", 2),
            (Kind::Text, "x\\'y", 2),
            (Kind::Sign, ".", 2),
            (Kind::Sign, ".", 2),
            (Kind::Text, "--z", 2),
            (Kind::Comment, " long\n", 2),
            (Kind::Sign, "+", 3),
            (Kind::Number, "0x1F", 3),
            (Kind::Text, " ]] ", 4),
            (Kind::Name, "a", 4),
            (Kind::Sign, "[", 4),
            (Kind::Number, "1", 4),
            (Kind::Sign, "]", 4),
        ];
        assert_eq!(found, expected.map(|(kind, text, line)| (kind, text.to_owned(), line)));
    }

    #[test]
    fn text_without_an_end_ends_with_the_script() {
        for source in ["'x", "--[[ x", "[[ x", "'x\\", "--"] {
            assert_eq!(tokens(source).len(), 1, "{source}");
        }
    }
}
