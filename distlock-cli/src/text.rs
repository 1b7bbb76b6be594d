//! Texts for people: keys that may contain anything, durations, and tables of any width.

use std::{
    io::{self, IsTerminal},
    time::{Duration, SystemTime},
};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that are narrower than this are not worth having.
const NARROWEST: usize = 10;

/// A text of somebody else's without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() || char.width() == Some(0) || is_bidirectional(char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Characters that change the order of those around them.
fn is_bidirectional(char: char) -> bool {
    matches!(char, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration in one or two units: `250ms`, `2.5s`, `4m 10s`, `3h 5m`, `2d 4h`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..10 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago a moment was, by this host's clock.
pub(crate) fn age(since: SystemTime) -> Duration {
    SystemTime::now().duration_since(since).unwrap_or_default()
}

/// The width of the terminal that standard output is; `None` if it is none.
pub(crate) fn terminal_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let (columns, _) = crossterm::terminal::size().ok()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// The text, cut to this many columns, with `…` at its end if it was longer.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut shown, mut used) = (String::new(), 0);
    for char in text.chars() {
        let columns = char.width().unwrap_or_default();
        if used + columns >= width {
            break;
        }
        used += columns;
        shown.push(char);
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}

/// The text in lines of at most this many columns, broken between words where that is possible.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && last.width() + 1 + word.width() <= width {
            last.push(' ');
            last.push_str(word);
            continue;
        }
        if !last.is_empty() {
            lines.push(String::new());
        }
        for char in word.chars() {
            let last = lines.last_mut().expect("there is a line");
            if !last.is_empty() && last.width() + char.width().unwrap_or_default() > width {
                lines.push(char.to_string());
            } else {
                last.push(char);
            }
        }
    }
    lines
}

/// A table: its columns' names, and its rows.
pub(crate) struct Table<'a> {
    pub(crate) columns: &'a [&'a str],
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table<'_> {
    /// The table in lines of at most `width` columns, if there is a limit: the last column is broken between
    /// words. Where that leaves too little, each row is written as a block of lines.
    pub(crate) fn render(&self, width: Option<usize>, has_head: bool) -> String {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
            cells.chain([self.columns[at].width()]).max().unwrap_or_default()
        };
        let last = self.columns.len() - 1;
        let widths: Vec<_> = (0..last).map(widest).collect();
        let before_last: usize = widths.iter().map(|width| width + 2).sum();
        let room = match width {
            None => usize::MAX,
            Some(width) if before_last + widest(last).min(3 * NARROWEST) <= width => width - before_last,
            Some(width) => return self.in_blocks(width),
        };
        let mut text = String::new();
        if has_head {
            Self::push_row(
                &mut text,
                &widths,
                &self.columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(),
                room,
            );
        }
        for row in &self.rows {
            Self::push_row(&mut text, &widths, row, room);
        }
        text
    }

    fn push_row(text: &mut String, widths: &[usize], row: &[String], room: usize) {
        for (line, part) in wrapped(&row[widths.len()], room).iter().enumerate() {
            let mut whole = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let cell = if line == 0 { &**cell } else { "" };
                whole.push_str(cell);
                whole.extend(std::iter::repeat_n(' ', width + 2 - cell.width()));
            }
            whole.push_str(part);
            text.push_str(whole.trim_end());
            text.push('\n');
        }
    }

    fn in_blocks(&self, width: usize) -> String {
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            for (name, cell) in self.columns.iter().zip(row) {
                for line in wrapped(&format!("{name}: {cell}"), width) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("order:42 \u{fc}"), "order:42 \u{fc}");
        assert_eq!(printable("a\x1b[2Jb\n\u{202e}"), "a\\u{1b}[2Jb\\u{a}\\u{202e}");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_999, "1.9s"),
            (59_999, "59s"),
            (250_000, "4m 10s"),
            (11_100_000, "3h 5m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
        assert!(short(Duration::MAX).ends_with('h'));
    }

    fn table() -> Table<'static> {
        let rows = [["order:42", "web-1:4242", "a long text of several words"], ["a", "b", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        Table { columns: &["KEY", "HOLDER", "NOTE"], rows }
    }

    #[test]
    fn a_table_fits_every_width() {
        assert_eq!(
            table().render(None, true),
            "KEY       HOLDER      NOTE\norder:42  web-1:4242  a long text of several words\na         b\n"
        );
        for width in 1..80 {
            let text = table().render(Some(width), true);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            let letters = |text: &str| text.chars().filter(|char| char.is_alphanumeric()).count();
            assert!(letters(&text) >= letters("order:42web-1:4242alongtextofseveralwords"), "{text}");
        }
        assert!(Table { rows: Vec::new(), ..table() }.render(Some(1), true).is_empty());
    }

    #[test]
    fn a_text_is_cut_to_its_width() {
        assert_eq!(cut("order:42", 8), "order:42");
        assert_eq!(cut("order:42", 6), "order\u{2026}");
        assert_eq!(cut("order:42", 1), "\u{2026}");
        assert_eq!(cut("order:42", 0), "");
    }
}
