//! The page of `distlock ui` in a real browser, against a real server under load. `./test-ui.sh` installs the
//! browser and runs this.

mod browser;
mod load;
mod looks;
mod pictures;
mod shows;

use std::time::Duration;

/// Longer than anything takes that should happen at once.
const SOON: Duration = Duration::from_secs(30);
