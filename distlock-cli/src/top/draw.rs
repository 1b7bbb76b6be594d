//! Draws a view in a terminal of any size.

use ratatui::{
    Frame,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use crate::{
    holders::{held, holder_of, lease},
    text::{cut, printable, short, wrapped},
    watch::{Row, View},
};

/// A terminal that is narrower shows keys, leases and waiters only.
const NARROW: usize = 60;
/// The width of the bar of a lease.
const BAR: usize = 10;

/// Draws the view, of which the first rows may be left out.
pub(super) fn draw(frame: &mut Frame<'_>, view: Option<&View>, first_row: usize) {
    let area = frame.area();
    let lines = lines(view, first_row, usize::from(area.width), usize::from(area.height));
    frame.render_widget(Paragraph::new(lines), area);
}

fn lines(view: Option<&View>, first_row: usize, width: usize, height: usize) -> Vec<Line<'static>> {
    let Some(view) = view else { return vec![Line::from(cut("asking the server ..", width))] };
    if let Some(error) = &view.error {
        return failure(error, width, height);
    }
    let mut lines = summary(view, width);
    let columns = Columns::of(view, width);
    lines.push(Line::styled(columns.head(), Style::new().add_modifier(Modifier::BOLD)));
    let room = height.saturating_sub(lines.len() + 1);
    lines.extend(view.rows.iter().skip(first_row).take(room).map(|row| columns.row(row)));
    while lines.len() + 1 < height {
        lines.push(Line::default());
    }
    let shown = view.rows.len().min(first_row + room);
    let rest =
        if shown < view.holders { format!("{} more \u{b7} ", view.holders - shown) } else { String::new() };
    lines.push(keys(&format!("{rest}q quits, arrows scroll"), width));
    lines
}

/// Why the servers could not be asked, in place of numbers that are not known.
fn failure(error: &str, width: usize, height: usize) -> Vec<Line<'static>> {
    let room = height.saturating_sub(1);
    let mut text = wrapped(&printable(error), width);
    let is_cut = text.len() > room;
    text.truncate(room);
    if let Some(last) = text.last_mut().filter(|_| is_cut) {
        *last = cut(&format!("{last} \u{2026}"), width);
    }
    text.resize(room, String::new());
    let red = Style::new().fg(Color::Red);
    let mut lines: Vec<_> = text.into_iter().map(|line| Line::styled(line, red)).collect();
    lines.push(keys("q quits", width));
    lines
}

/// The last line: what keys do.
fn keys(text: &str, width: usize) -> Line<'static> {
    Line::styled(cut(text, width), Style::new().fg(Color::DarkGray))
}

fn summary(view: &View, width: usize) -> Vec<Line<'static>> {
    let facts = [
        ("holders", view.holders.to_string()),
        ("waiters", view.waiters.to_string()),
        ("hand-overs/s", format!("{:.1}", view.hand_overs_per_second)),
        ("longest wait", view.longest_wait.map_or_else(|| "-".to_owned(), short)),
    ];
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let whole: usize = facts.iter().map(|(name, value)| name.width() + value.width() + 4).sum();
    if whole <= width + 3 {
        let spans = facts.into_iter().flat_map(|(name, value)| {
            [Span::raw(format!("{name} ")), Span::styled(value, bold), Span::raw("   ")]
        });
        return vec![Line::from(spans.collect::<Vec<_>>())];
    }
    facts.into_iter().map(|(name, value)| Line::from(cut(&format!("{name} {value}"), width))).collect()
}

/// How wide each column is.
struct Columns {
    key: usize,
    /// Zero in a narrow terminal.
    holder: usize,
    is_narrow: bool,
}

impl Columns {
    fn of(view: &View, width: usize) -> Self {
        let is_narrow = width < NARROW;
        // The lease and the waiters, and in a wide terminal the bar and how long the lock is held.
        let fixed = if is_narrow { 7 + 4 } else { 8 + 8 + BAR + 2 + 8 };
        let free = width.saturating_sub(fixed);
        let widest =
            |cell: fn(&Row) -> String| view.rows.iter().map(|row| cell(row).width()).max().unwrap_or(0);
        let holder = if is_narrow { 0 } else { widest(|row| holder_of(&row.holder)).clamp(6, free / 2) + 2 };
        let key = widest(|row| printable(&row.holder.key)).max(3) + 2;
        Self { key: key.min(free.saturating_sub(holder)), holder, is_narrow }
    }

    fn head(&self) -> String {
        let mut head = cell("KEY", self.key);
        if self.is_narrow {
            return head + &cell("LEASE", 7) + "WAIT";
        }
        head += &cell("HOLDER", self.holder);
        head += &cell("FOR", 8);
        head + &cell("LEASE", 8 + BAR + 2) + "WAITING"
    }

    fn row(&self, row: &Row) -> Line<'static> {
        let holder = &row.holder;
        let waiters = holder.waiters.map_or_else(|| "-".to_owned(), |waiters| waiters.to_string());
        let mut spans = vec![Span::raw(cell(&printable(&holder.key), self.key))];
        if !self.is_narrow {
            spans.push(Span::raw(cell(&holder_of(holder), self.holder)));
            spans.push(Span::raw(cell(&held(holder), 8)));
        }
        spans.push(Span::raw(cell(&lease(holder), if self.is_narrow { 7 } else { 8 })));
        if !self.is_narrow {
            spans.push(bar(row.part_left()));
        }
        let style = if holder.waiters.is_some_and(|waiters| waiters > 0) {
            Style::new().fg(Color::Yellow)
        } else {
            Style::new()
        };
        spans.push(Span::styled(waiters, style));
        Line::from(spans)
    }
}

/// A text in a column, with a space behind it.
fn cell(text: &str, width: usize) -> String {
    let text = cut(text, width.saturating_sub(1));
    let space = width.saturating_sub(text.width());
    text + &" ".repeat(space)
}

fn bar(part: f64) -> Span<'static> {
    // The loop counts in place of a conversion from a float.
    let filled = (1_u32..=10).filter(|tenth| f64::from(*tenth) <= part * 10.0 + 0.5).count();
    let colour = if part < 0.34 { Color::Red } else { Color::Green };
    let bar = format!("{}{}  ", "\u{2588}".repeat(filled), "\u{2591}".repeat(BAR - filled));
    Span::styled(bar, Style::new().fg(colour))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use distlock_core::Holder;
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    fn view() -> View {
        let holder = |key: &str| {
            let holder = Holder::stored(key, b"x").with_remaining(Some(Duration::from_secs(5)));
            Row { holder: holder.with_waiters(Some(2)), ttl: Some(Duration::from_secs(10)) }
        };
        let rows =
            ["order:42", "a key that is much longer than the terminal is wide, \u{4e2d}\u{6587}", "\x1b[2J"];
        let rows: Vec<_> = rows.into_iter().map(holder).collect();
        View { holders: rows.len(), rows, waiters: 6, ..View::default() }
    }

    fn failed(error: &str) -> View {
        View { error: Some(error.to_owned()), ..View::default() }
    }

    #[test]
    fn a_view_is_drawn_in_a_terminal_of_any_size() {
        for width in (0..90).chain([200]) {
            for height in [0, 1, 2, 3, 5, 8, 24] {
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                for view in [
                    None,
                    Some(&View::default()),
                    Some(&view()),
                    Some(&failed("the server \u{4e2d} has gone")),
                ] {
                    terminal.draw(|frame| draw(frame, view, 1)).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_the_key_the_lease_and_the_waiters() {
        let lines: Vec<_> = lines(Some(&view()), 0, 20, 24).iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with("order") && line.contains("5.0s")), "{lines:?}");
        assert!(lines.iter().all(|line| line.width() <= 20), "{lines:?}");
    }

    #[test]
    fn a_failure_is_shown_whole_where_there_is_room() {
        let text = "lock store failed: the server forbids the command SCAN; allow it by `+scan`";
        let shown = |height| {
            let lines = lines(Some(&failed(text)), 0, 20, height);
            lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect::<Vec<_>>()
        };
        let whole = shown(10);
        assert!(whole.join(" ").starts_with(text), "{whole:?}");
        assert!(!whole.iter().any(|line| line.contains("holders")), "{whole:?}");
        assert_eq!(shown(3), ["lock store failed:", "the server forbids \u{2026}", "q quits"]);
        assert!(shown(3).iter().all(|line| line.width() <= 20));
    }
}
