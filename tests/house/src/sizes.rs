//! How long a file is, and how wide its comments are.

use std::{collections::BTreeSet, str::FromStr};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The most lines of code of a file, without blank lines, comments, documentation and unit tests.
pub const CODE: usize = 350;
/// The most lines of code of a file of tests.
pub const TESTS: usize = 400;
/// The most columns of a comment, as of a line of code.
pub const WIDTH: usize = 110;

/// Checks the length of a Rust file.
#[must_use]
pub fn check_length(file: &str, source: &str) -> Option<String> {
    // A file whose tokens cannot be read tests how the compiler complains about it.
    let code = Code::of(source)?;
    let is_test = file.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    let (most, kind) = if is_test { (TESTS, "a file of tests") } else { (CODE, "a file") };
    let lines = code.lines.difference(&code.unit_tests).count();
    let what = format!("{file}:1: {lines} lines of code; split it: {kind} has {most} at the most");
    (lines > most).then_some(what)
}

/// Checks the width of a Rust file's comments.
#[must_use]
pub fn check_rust(file: &str, source: &str) -> Vec<String> {
    match Code::of(source) {
        Some(code) => too_wide(file, source, "//", |at, line| code.ends_before(at, line)),
        None => too_wide(file, source, "//", |_, line| line.trim_start().starts_with("//")),
    }
}

/// Checks the width of a Lua script's comments.
#[must_use]
pub fn check_lua(file: &str, source: &str) -> Vec<String> {
    too_wide(file, source, "--", |_, line| line.contains("--"))
}

fn too_wide(file: &str, source: &str, sign: &str, has_comment: impl Fn(usize, &str) -> bool) -> Vec<String> {
    let lines = source.lines().enumerate().map(|(at, line)| (at + 1, line));
    let wide = lines.filter(|(_, line)| line.chars().count() > WIDTH);
    wide.filter(|(at, line)| has_comment(*at, line))
        .map(|(at, line)| {
            let columns = line.chars().count();
            format!("{file}:{at}: a `{sign}` comment of {columns} columns; break it: code has {WIDTH}")
        })
        .collect()
}

/// Where a file's code is.
struct Code {
    /// The lines that have code, documentation and comments not counted.
    lines: BTreeSet<usize>,
    /// The lines of modules under `#[cfg(test)]`.
    unit_tests: BTreeSet<usize>,
    /// For each line with code, the column after its last token.
    ends: Vec<usize>,
}

impl Code {
    fn of(source: &str) -> Option<Self> {
        let ends = vec![0; source.lines().count() + 2];
        let mut code = Self { lines: BTreeSet::new(), unit_tests: BTreeSet::new(), ends };
        code.add(TokenStream::from_str(source).ok()?);
        for (at, line) in source.lines().enumerate() {
            if line.trim().is_empty() {
                code.lines.remove(&(at + 1));
            }
        }
        Some(code)
    }

    fn add(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let length = doc_length(&tokens[at..]);
            if length > 0 {
                at += length;
                continue;
            }
            if let Some(length) = unit_test_length(&tokens[at..]) {
                let first = tokens[at].span().start().line;
                let last = tokens[at + length - 1].span().end().line;
                self.unit_tests.extend(first..=last);
            }
            match &tokens[at] {
                TokenTree::Group(group) => {
                    self.cover(&group.span_open());
                    self.add(group.stream());
                    self.cover(&group.span_close());
                }
                token => self.cover(&token.span()),
            }
            at += 1;
        }
    }

    fn cover(&mut self, span: &proc_macro2::Span) {
        let (start, end) = (span.start(), span.end());
        self.lines.extend(start.line..=end.line);
        self.ends[end.line] = self.ends[end.line].max(end.column);
        // A string of several lines goes on to the end of each but its last.
        self.ends[start.line..end.line].fill(usize::MAX);
    }

    /// Whether a line goes on behind its code, which a comment does.
    fn ends_before(&self, line: usize, text: &str) -> bool {
        let end = self.ends[line];
        text.chars().skip(end).any(|sign| !sign.is_whitespace())
    }
}

/// The number of tokens of a documentation comment or `#[doc]`; 0 for anything else.
fn doc_length(tokens: &[TokenTree]) -> usize {
    let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    let at = if is(0, '#') { 1 + usize::from(is(1, '!')) } else { return 0 };
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            let first = group.stream().into_iter().next().map(|token| token.to_string());
            if first.as_deref() == Some("doc") { at + 1 } else { 0 }
        }
        _ => 0,
    }
}

/// The number of tokens of `#[cfg(test)] .. mod name { .. }`.
fn unit_test_length(tokens: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(sign), TokenTree::Group(attribute), ..] = tokens else { return None };
    let is_test = sign.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)";
    // Other attributes and a visibility may come before the word `mod`.
    let module = tokens.iter().take(8).position(|token| token.to_string() == "mod").filter(|_| is_test)?;
    matches!(tokens.get(module + 2), Some(TokenTree::Group(_))).then_some(module + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lines: usize) -> String {
        "const _: u8 = 0;\n".repeat(lines)
    }

    #[test]
    fn a_file_that_is_too_long_goes_red() {
        assert_eq!(check_length("src/a.rs", &code(CODE)), None);
        let long = code(CODE + 1);
        let said = check_length("src/a.rs", &long).unwrap();
        assert_eq!(said, "src/a.rs:1: 351 lines of code; split it: a file has 350 at the most");
        assert_eq!(check_length("tests/a.rs", &long), None);
        assert_eq!(check_length("src/a/tests.rs", &long), None);
        assert!(check_length("tests/a.rs", &code(TESTS + 1)).is_some());
    }

    #[test]
    fn comments_documentation_blank_lines_and_unit_tests_do_not_count() {
        let more = "/// Doc.\nstruct S; // c\n//! Doc.\n// Comment.\n/* a\nb */\n\n#[doc = \"x\"]\n\
                    #[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        assert_eq!(check_length("src/a.rs", &(code(CODE - 1) + more)), None);
        assert!(check_length("src/a.rs", &(code(CODE) + more)).is_some());
        // Text of several lines is code, but for its blank lines.
        let text = "const T: &str = \"\na\n\nb\";\n";
        assert_eq!(check_length("src/a.rs", &(code(CODE - 3) + text)), None);
        assert!(check_length("src/a.rs", &(code(CODE - 2) + text)).is_some());
    }

    #[test]
    fn a_comment_that_is_too_wide_goes_red() {
        let wide = "x".repeat(WIDTH);
        for comment in [
            format!("/// {wide}\nstruct A;"),
            format!("// {wide}"),
            format!("//! {wide}"),
            format!("/* {wide} */"),
            format!("/*\n{wide} a\n*/"),
            format!("struct A; // {wide}"),
            format!("fn broken( {{\n// {wide}"),
        ] {
            assert_eq!(check_rust("a.rs", &comment).len(), 1, "{comment}");
        }
        assert!(
            check_rust("a.rs", &format!("\n// {wide}"))[0]
                .starts_with("a.rs:2: a `//` comment of 113 columns")
        );
        assert_eq!(check_lua("a.lua", &format!("local x = 1 -- {wide}")).len(), 1);
    }

    #[test]
    fn wide_code_is_left_to_the_formatter() {
        let wide = "x".repeat(WIDTH);
        for fine in [
            format!("const A: &str = \"// {wide}\";"),
            format!("const A: &str = \"\n// {wide}\n\";"),
            format!("// {}", &wide[3..]),
            format!("/// {}", "ä".repeat(WIDTH - 4)),
        ] {
            assert_eq!(check_rust("a.rs", &fine), [""; 0], "{fine}");
        }
    }
}
