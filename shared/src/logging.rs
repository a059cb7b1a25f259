//! Logging to standard output, as configured by Lambda.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Lookup, optional, release};

/// The function's logging configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object per line instead of text.
    pub json: bool,
    /// A `tracing` filter.
    pub filter: String,
    /// In every line of JSON.
    pub release: String,
}

impl LogSettings {
    /// Reads `AWS_LAMBDA_LOG_FORMAT`, `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`, and `RELEASE_NAME`.
    #[must_use]
    pub fn read(lookup: Lookup<'_>) -> Self {
        let level = optional(lookup, "AWS_LAMBDA_LOG_LEVEL").or_else(|| optional(lookup, "RUST_LOG"));
        Self {
            json: optional(lookup, "AWS_LAMBDA_LOG_FORMAT")
                .is_some_and(|format| format.eq_ignore_ascii_case("json")),
            filter: level.unwrap_or_else(|| "info".to_owned()).to_ascii_lowercase(),
            release: release(lookup),
        }
    }
}

/// Starts logging; panics are logged like errors.
pub fn start(settings: &LogSettings) {
    // Not an `EnvFilter`: its regular expressions would make up a tenth of the program.
    let filter = settings.filter.parse::<Targets>();
    let filter = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // At TRACE the AWS SDK's signer logs what it signs: in a URL, that includes session tokens.
    let filter = filter.with_target("aws_sigv4", LevelFilter::INFO);
    let logging = tracing_subscriber::registry().with(filter);
    if settings.json {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).json();
        let format = tracing_subscriber::fmt::format().json().with_target(false);
        let format = format.flatten_event(true).with_current_span(true).with_span_list(false);
        logging.with(lines.event_format(Stamped::new(format, &settings.release))).init();
    } else {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
        logging.with(lines.without_time()).init();
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "a panic")));
}

/// Lines of JSON that begin with the release.
struct Stamped<F> {
    inner: F,
    /// `{"release":"…",`
    beginning: String,
}

impl<F> Stamped<F> {
    fn new(inner: F, release: &str) -> Self {
        Self { inner, beginning: format!("{{\"release\":{},", serde_json::Value::from(release)) }
    }
}

impl<S, N, F> FormatEvent<S, N> for Stamped<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{}{rest}", self.beginning),
            None => writer.write_str(&line),
        }
    }
}
