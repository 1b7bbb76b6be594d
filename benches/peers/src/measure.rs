//! Clocks, and the statistics of the tables.

use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Nanoseconds of the host's monotonic clock.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPU time of this process in seconds, summed over all cores.
pub fn cpu_time() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Reads a server's CPU time.
pub struct ServerCpu(MultiplexedConnection);

impl ServerCpu {
    pub async fn of(url: &str) -> Outcome<Self> {
        Ok(Self(redis::Client::open(url)?.get_multiplexed_async_connection().await?))
    }

    /// Returns the CPU time of the server's process in seconds, the kernel's share included.
    pub async fn read(&mut self) -> Outcome<f64> {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut self.0).await?;
        let field = |name| {
            info.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|text| text.trim().parse::<f64>().ok())
        };
        let (user, sys) = (field("used_cpu_user:"), field("used_cpu_sys:"));
        Ok(user.zip(sys).map(|(user, sys)| user + sys).ok_or("no CPU time")?)
    }
}

/// The value below which the fraction `of` of all values lies.
pub fn quantile(mut values: Vec<f64>, of: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * of) as usize).copied().unwrap_or(f64::NAN)
}

/// The median, the least and the most, as text.
pub fn spread(values: &[f64]) -> String {
    let at = |of| quantile(values.to_vec(), of);
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.0), at(0.999))
}

/// Prints the ratios of speed and of CPU time, one row for each library.
pub fn print_speeds(names: &[&str], measured: &[(Vec<f64>, Vec<f64>)]) {
    for (name, (speeds, costs)) in names.iter().zip(measured) {
        println!("  {name:<22} {}   {}", spread(speeds), spread(costs));
    }
}
