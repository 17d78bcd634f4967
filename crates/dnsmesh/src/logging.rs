//! Log lines in the forms of node.md 8: the node's on standard output, warnings of every other verb on standard error.
//!
//! What is logged is the libraries' business; here it gets its form, in UTC, with control characters made visible.

use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use dmp_node::config::{LogConfig, LogFormat, LogLevel};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::time::utc;
use crate::{report, screen, terminal};

/// The node's log while it is shown.
pub(crate) struct NodeLog {
    level: reload::Handle<LevelFilter, Registry>,
    format: Format,
}

/// Shows the node's log on standard output, as configured.
pub(crate) fn show_node_log(config: &LogConfig) -> NodeLog {
    let (filter, level) = reload::Layer::new(threshold(config));
    let format = Format::new(config.format);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line {
            format: format.clone(),
            schema: None,
        })
        .with_writer(io::stdout);
    // Only a second call in the same process could fail.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    NodeLog { level, format }
}

impl NodeLog {
    /// Shows it otherwise from the next line on.
    pub(crate) fn configure(&self, config: &LogConfig) {
        self.format.set(config.format);
        // The layer lives as long as the process.
        let _ = self.level.reload(threshold(config));
    }
}

fn threshold(config: &LogConfig) -> LevelFilter {
    match config.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Shows on standard error what libraries warn about, and with `-v` and `-vv` what our own are doing. Others stay at warnings: what they
/// say at length may hold what must not be told.
pub(crate) fn show_warnings(verbose: u8, format: report::Format) {
    let ours = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.map(|name| (name, ours)));
    let form = match format {
        report::Format::Text => LogFormat::Text,
        report::Format::Json => LogFormat::Json,
    };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line {
            format: Format::new(form),
            schema: Some("dmp.log/1"),
        })
        .with_writer(|| AloneOnStderr);
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// The crates whose words are known.
const OURS: [&str; 5] = ["dnsmesh", "dmp_client", "dmp_core", "dmp_dns", "dmp_net"];

/// Standard error, with the progress out of the way.
struct AloneOnStderr;

impl io::Write for AloneOnStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        terminal::alone(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The form of the next line.
#[derive(Clone)]
struct Format(Arc<AtomicBool>);

impl Format {
    fn new(format: LogFormat) -> Self {
        Self(Arc::new(AtomicBool::new(format == LogFormat::Json)))
    }

    fn set(&self, format: LogFormat) {
        self.0.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn current(&self) -> LogFormat {
        match self.0.load(Ordering::Relaxed) {
            true => LogFormat::Json,
            false => LogFormat::Text,
        }
    }
}

/// One event as one line.
struct Line {
    format: Format,
    /// The schema that its JSON form names, if it does.
    schema: Option<&'static str>,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut content = Content::default();
        event.record(&mut content);
        if let (LogFormat::Json, Some(schema)) = (self.format.current(), self.schema) {
            content.extras.insert("schema".to_owned(), schema.into());
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let moment = Moment {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            millis: since.subsec_millis(),
        };
        let line = content.line(
            self.format.current(),
            &moment,
            event.metadata().level(),
            event.metadata().target(),
        );
        writeln!(out, "{line}")
    }
}

/// When an event happened.
struct Moment {
    seconds: i64,
    millis: u32,
}

/// What an event says.
#[derive(Default)]
struct Content {
    message: String,
    extras: Map<String, Value>,
}

impl Content {
    fn line(&self, format: LogFormat, moment: &Moment, level: &Level, logger: &str) -> String {
        let level = if *level == Level::WARN {
            "WARNING"
        } else {
            level.as_str()
        };
        let (time, millis) = (utc(moment.seconds), moment.millis);
        match format {
            LogFormat::Text => {
                let time = time.trim_end_matches('Z').replace('T', " ");
                let extras: String = self
                    .extras
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", plain(value)))
                    .collect();
                screen::line(&format!(
                    "{time},{millis:03} {level} {logger}: {}{extras}",
                    self.message
                ))
                .into_owned()
            }
            LogFormat::Json => {
                let ts = format!("{}.{millis:03}Z", time.trim_end_matches('Z'));
                let mut object = self.extras.clone();
                for (key, value) in [
                    ("ts", ts.as_str()),
                    ("level", level),
                    ("logger", logger),
                    ("msg", &self.message),
                ] {
                    object.insert(key.to_owned(), value.into());
                }
                Value::Object(object).to_string()
            }
        }
    }

    fn insert(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = plain(&value);
        } else {
            self.extras.insert(field.name().to_owned(), value);
        }
    }
}

/// Text without its quotes, anything else as JSON writes it.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_forms_of_the_reference() {
        let extras = [("rows".to_owned(), Value::from(3))].into_iter().collect();
        let content = Content {
            message: "expired \u{1b}rows".to_owned(),
            extras,
        };
        let moment = Moment {
            seconds: 1_795_439_349,
            millis: 7,
        };
        let line = |format| content.line(format, &moment, &Level::WARN, "dmp_node::store");
        assert_eq!(
            line(LogFormat::Text),
            "2026-11-23 13:09:09,007 WARNING dmp_node::store: expired \\x1brows rows=3"
        );
        let json: Value = serde_json::from_str(&line(LogFormat::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"ts": "2026-11-23T13:09:09.007Z", "level": "WARNING", "logger": "dmp_node::store",
                "msg": "expired \u{1b}rows", "rows": 3})
        );
    }
}
