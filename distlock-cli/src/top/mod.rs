//! `distlock top`: the locks in the terminal, as they change.
//!
//! - [`draw`] draws a view in a terminal of any size.

use std::{
    io::{self, IsTerminal},
    mem::ManuallyDrop,
    time::Duration,
};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    args::TopOptions,
    failure::Failure,
    server, stopped,
    watch::{View, Watch},
};

mod draw;

/// How often the keyboard is looked at, and the picture drawn.
const FRAME: Duration = Duration::from_millis(50);

/// Shows the locks until the user ends it.
pub(crate) async fn run(url: Option<&str>, options: &TopOptions) -> Result<u8, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("`distlock top` needs a terminal; `distlock ls` lists the locks once"));
    }
    let manager = server::connect(url).await?;
    let (sender, views) = watch::channel(None);
    let (prefix, every) = (options.prefix.clone(), options.every);
    let looking = tokio::spawn(async move {
        let mut watch = Watch::default();
        while sender.send(Some(watch.look(&manager, &prefix).await)).is_ok() {
            sleep(every).await;
        }
    });
    let failed = |error: io::Error| Failure::io(format!("the terminal cannot be used: {error}"));
    let stopped = stopped();
    // If the terminal has gone, its destructor would panic: it writes that to the same terminal.
    let mut terminal = ManuallyDrop::new(ratatui::try_init().map_err(failed)?);
    let shown = tokio::select! {
        shown = show(&mut terminal, views) => shown,
        () = stopped => Ok(()),
    };
    let restored = terminal.show_cursor().and_then(|()| ratatui::try_restore());
    looking.abort();
    shown.and(restored).map_err(failed)?;
    Ok(0)
}

async fn show(terminal: &mut DefaultTerminal, views: watch::Receiver<Option<View>>) -> io::Result<()> {
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut first_row, mut is_changed) = (0_usize, true);
    let mut views = views;
    loop {
        frames.tick().await;
        // Crossterm would read for ever from a terminal that has gone.
        if !io::stdin().is_terminal() {
            return Err(io::Error::other("it has gone"));
        }
        while event::poll(Duration::ZERO)? {
            is_changed = true;
            let rows = views.borrow().as_ref().map_or(0, |view| view.rows.len());
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Release => {}
                Event::Key(key) => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Down | KeyCode::Char('j') => first_row += 1,
                    KeyCode::Up | KeyCode::Char('k') => first_row = first_row.saturating_sub(1),
                    KeyCode::PageDown => first_row += 10,
                    KeyCode::PageUp => first_row = first_row.saturating_sub(10),
                    KeyCode::Home => first_row = 0,
                    _ => {}
                },
                _ => {}
            }
            first_row = first_row.min(rows.saturating_sub(1));
        }
        if is_changed || views.has_changed().unwrap_or_default() {
            let view = views.borrow_and_update().clone();
            terminal.draw(|frame| draw::draw(frame, view.as_ref(), first_row))?;
            is_changed = false;
        }
    }
}
