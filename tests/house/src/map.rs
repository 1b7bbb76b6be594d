//! The map of the core's rooms, as `lib.rs` and `CONTRIBUTING.md` have it.

/// The heading of the map in the documentation of `lib.rs`.
pub const IN_LIB: &str = "# The rooms, in reading order";
/// The heading of the map in `CONTRIBUTING.md`.
pub const IN_CONTRIBUTING: &str = "## The rooms of the core, in reading order";

/// The rooms that the documentation of `lib.rs` lists, from the top down, with the line of each.
///
/// # Errors
/// The list is missing.
pub fn of_lib(source: &str) -> Result<Vec<(String, usize)>, String> {
    let lines = source.lines().map(|line| line.strip_prefix("//!").unwrap_or_default().trim());
    rooms("lib.rs", IN_LIB, lines)
}

/// The rooms that `CONTRIBUTING.md` lists, from the top down, with the line of each.
///
/// # Errors
/// The list is missing.
pub fn of_contributing(text: &str) -> Result<Vec<(String, usize)>, String> {
    rooms("CONTRIBUTING.md", IN_CONTRIBUTING, text.lines().map(str::trim))
}

fn rooms<'a>(
    file: &str,
    heading: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<(String, usize)>, String> {
    let missing = format!("{file}: add the heading `{heading}` with a line or row for each room below it");
    let mut lines = lines.enumerate().skip_while(|(_, line)| *line != heading);
    lines.next().ok_or_else(|| missing.clone())?;
    let section = lines.take_while(|(_, line)| !line.starts_with('#'));
    let rows = section.filter(|(_, line)| line.starts_with(['-', '*', '|']));
    let rooms: Vec<_> = rows.filter_map(|(at, row)| Some((first_name(row)?, at + 1))).collect();
    if rooms.is_empty() { Err(missing) } else { Ok(rooms) }
}

/// The first word between back-quotes: `acquire` of "- [`acquire/`](..): .. `mod`".
fn first_name(row: &str) -> Option<String> {
    let word = row.split('`').nth(1)?;
    let word = word.trim_end_matches('/').trim_end_matches(".rs").trim_start_matches("crate::");
    // The crate's root is above all rooms, whether the map says so or not.
    (word != "lib").then(|| word.to_owned())
}

/// The differences between the two maps.
#[must_use]
pub fn differences(lib: &[(String, usize)], contributing: &[(String, usize)]) -> Vec<String> {
    let names = |rooms: &[(String, usize)]| rooms.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (lib, theirs) = (names(lib), names(contributing));
    if lib == theirs {
        return Vec::new();
    }
    let at = lib.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
    let line = contributing.get(at).or(contributing.last()).map_or(0, |(_, line)| *line);
    vec![format!(
        "CONTRIBUTING.md:{line}: the map differs from that of lib.rs; write the rooms as there: {}",
        lib.join(", ")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! A crate.\n//!\n//! # The rooms, in reading order\n//! - [`request`] one call, by `manager`\n\
                       //! - `store`: leases\n//!   over two lines\n//!\n//! # Features\n//! - `redis`\n";
    const CONTRIBUTING: &str = "# Contributing\n\n## The rooms of the core, in reading order\n\n| room | what |\n\
                                | --- | --- |\n| `lib.rs` | x |\n| `request.rs` | y |\n| `store/` | z |\n\n## Words\n- `w`\n";

    #[test]
    fn the_map_is_read_from_both_places() {
        let rooms = |rooms: Vec<(String, usize)>| rooms.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(rooms(of_lib(LIB).unwrap()), ["request", "store"]);
        assert_eq!(rooms(of_contributing(CONTRIBUTING).unwrap()), ["request", "store"]);
        assert_eq!(of_lib(LIB).unwrap()[1].1, 5);
        assert!(of_lib("//! A crate.\n").unwrap_err().contains("add the heading"));
    }

    #[test]
    fn maps_that_differ_go_red() {
        let (lib, same) = (of_lib(LIB).unwrap(), of_contributing(CONTRIBUTING).unwrap());
        assert!(differences(&lib, &same).is_empty());
        let other = CONTRIBUTING.replace("`store/`", "`web/`");
        let said = differences(&lib, &of_contributing(&other).unwrap());
        assert_eq!(
            said,
            [
                "CONTRIBUTING.md:9: the map differs from that of lib.rs; write the rooms as there: request, store"
            ]
        );
    }
}
