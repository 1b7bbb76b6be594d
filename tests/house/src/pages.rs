//! The pages for users: their links, and what a package page shows.

use std::collections::BTreeMap;

/// Pages by their path from the repository's root.
pub type Pages = BTreeMap<String, String>;

/// A link, with the line that has it.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

impl Link {
    /// Whether it leads to another file of the repository, or to a heading.
    fn is_relative(&self) -> bool {
        !self.target.contains("://")
    }
}

/// The lines of a page that are not in code blocks, with their numbers. Code between back-quotes is left out.
fn prose(page: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (at, text) in page.lines().enumerate() {
        if text.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let without_code: String = text.split('`').step_by(2).collect();
            lines.push((at + 1, without_code));
        }
    }
    lines
}

/// The links and pictures of a page, by `[text](target)` or by a definition `[name]: target`.
fn links(page: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(page) {
        let mut push = |target: &str| links.push(Link { line, target: target.trim().to_owned() });
        if let Some((_, target)) = definition(&text) {
            push(target);
        }
        for rest in text.split("](").skip(1) {
            push(rest.split(')').next().unwrap_or_default());
        }
    }
    links
}

/// The name and the target of `[name]: target`.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, target) = text.strip_prefix('[')?.split_once("]: ")?;
    (!name.contains(']')).then_some((name, target))
}

/// What the headings of a page are called in links.
fn anchors(page: &str) -> Vec<String> {
    let mut is_code = false;
    let mut anchors = Vec::new();
    for text in page.lines() {
        if text.starts_with("```") {
            is_code = !is_code;
        } else if text.starts_with('#') && !is_code {
            let heading = text.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
            anchors.push(kept.map(|char| if char == ' ' { '-' } else { char }).collect());
        }
    }
    anchors
}

/// Finds links to files and headings that do not exist, and names in brackets without a definition.
#[must_use]
pub fn broken_links(pages: &Pages, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, page) in pages {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for Link { line, target } in links(page).into_iter().filter(Link::is_relative) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { file.clone() } else { join(folder, path) };
            if !exists(&path) {
                complaints.push(format!("{file}:{line}: there is no file `{path}`; correct the link"));
            } else if !anchor.is_empty()
                && pages.get(&path).is_some_and(|page| !anchors(page).iter().any(|own| own == anchor))
            {
                complaints
                    .push(format!("{file}:{line}: `{path}` has no heading `#{anchor}`; correct the link"));
            }
        }
        complaints.extend(undefined_names(file, page));
    }
    complaints
}

/// Names of pages in brackets, such as `[recipes.md]`, that the page does not define.
fn undefined_names(file: &str, page: &str) -> Vec<String> {
    let prose = prose(page);
    let is_defined = |name: &str| prose.iter().any(|(_, text)| definition(text).is_some_and(|d| d.0 == name));
    let mut complaints = Vec::new();
    for (line, text) in &prose {
        for rest in text.split('[').skip(1) {
            let Some((name, after)) = rest.split_once(']') else { continue };
            if name.contains(".md") && !after.starts_with('(') && !is_defined(name) {
                complaints.push(format!("{file}:{line}: define `[{name}]: {name}` at the end of the page"));
            }
        }
    }
    complaints
}

/// `docs` and `../tests` are `tests`.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// Finds links that break where a package's page shows the file without its repository.
#[must_use]
pub fn links_that_need_the_repository(file: &str, page: &str) -> Vec<String> {
    let relative = links(page).into_iter().filter(|link| link.is_relative() && !link.target.starts_with('#'));
    let complaint = |link: Link| {
        let Link { line, target } = link;
        format!("{file}:{line}: the link to `{target}` breaks on a package's page; name the file as code")
    };
    relative.map(complaint).collect()
}

/// Finds files below `docs/` that the page names and that do not exist.
#[must_use]
pub fn unknown_files(file: &str, page: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let code = page.split('`').skip(1).step_by(2);
    let missing = code.filter(|name| name.starts_with("docs/") && !exists(name));
    missing.map(|name| format!("{file}: there is no file `{name}`; correct the name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(pages: &[(&str, &str)]) -> Pages {
        pages.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let pages = pages(&[
            ("docs/a.md", "# A `b` (c)\n[x](b.md#d-e) [y](#a-b-c) [b.md] [z](../tests)\n\n[b.md]: b.md\n"),
            ("docs/b.md", "# D e\n`[f.md]` [x](https://f/g.md#h)\n```text\n[f.md]\n```\n"),
        ]);
        let exists = |path: &str| ["docs/a.md", "docs/b.md", "tests"].contains(&path);
        assert_eq!(broken_links(&pages, exists), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_goes_red() {
        for (page, complaint) in [
            ("\n[x](c.md)", "docs/a.md:2: there is no file `docs/c.md`; correct the link"),
            ("[x](#none)", "docs/a.md:1: `docs/a.md` has no heading `#none`; correct the link"),
            (
                "```\n# none\n```\n[x](#none)",
                "docs/a.md:4: `docs/a.md` has no heading `#none`; correct the link",
            ),
            ("see [a.md].", "docs/a.md:1: define `[a.md]: a.md` at the end of the page"),
            ("[c]: ../c", "docs/a.md:1: there is no file `c`; correct the link"),
        ] {
            let found = broken_links(&pages(&[("docs/a.md", page)]), |path| path == "docs/a.md");
            assert_eq!(found, [complaint]);
        }
    }

    #[test]
    fn a_package_page_has_no_use_for_relative_links() {
        let page = "[a](https://a/b) [b](#c) `[d](e)`\n![f](docs/f.svg)";
        let found = links_that_need_the_repository("README.md", page);
        assert_eq!(
            found,
            ["README.md:2: the link to `docs/f.svg` breaks on a package's page; name the file as code"]
        );
    }

    #[test]
    fn a_file_that_is_not_there_goes_red() {
        let found = unknown_files("README.md", "`docs/a.md`, `docs/b.md`, `c`", |path| path == "docs/a.md");
        assert_eq!(found, ["README.md: there is no file `docs/b.md`; correct the name"]);
    }
}
