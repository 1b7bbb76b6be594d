//! The metrics, as a real exporter shows them.

mod gauges;
mod scrape;
mod text;
