//! Logging to standard output, as configured by Lambda.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Lookup, optional};

/// The function's logging configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object per line instead of text.
    pub json: bool,
    /// A `tracing` filter.
    pub filter: String,
}

impl LogSettings {
    /// Reads `AWS_LAMBDA_LOG_FORMAT`, and `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`.
    #[must_use]
    pub fn read(lookup: Lookup<'_>) -> Self {
        let level = optional(lookup, "AWS_LAMBDA_LOG_LEVEL").or_else(|| optional(lookup, "RUST_LOG"));
        Self {
            json: optional(lookup, "AWS_LAMBDA_LOG_FORMAT")
                .is_some_and(|format| format.eq_ignore_ascii_case("json")),
            filter: level.unwrap_or_else(|| "info".to_owned()).to_ascii_lowercase(),
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
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let logging = tracing_subscriber::registry().with(filter);
    if settings.json {
        let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
        logging.with(lines).init();
    } else {
        logging.with(lines.without_time()).init();
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "a panic")));
}
