//! What each function consists of; the only place that connects adapters to ports.

use std::sync::Arc;

use crate::adapters::clock::SystemClock;
use crate::adapters::cloudwatch::trail_reader::CloudWatchTrailReader;
use crate::adapters::cloudwatch::{CloudWatchAuditLog, audit_log_group};
use crate::adapters::https::Https;
use crate::adapters::postgres::Postgres;
use crate::adapters::postgres::connection::Connections;
use crate::adapters::postgres::settings::DatabaseSettings;
use crate::audit::AuditTrail;
use crate::config::{self, Lookup, SettingError, environment};
use crate::domain::admin::Caller;
use crate::domain::time::Timestamp;
use crate::http::auth::Authenticator;
use crate::http::auth_settings::AuthSettings;
use crate::http::keys::KeySetCache;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::logging::{self, LogSettings};
use crate::ports::clock::Clock;
use crate::ports::schedules::ScheduleReader;
use crate::processor::{Processor, Watch};
use crate::service::ScheduleService;
use crate::verify::Verifier;

/// An endpoint that writes.
pub struct App {
    pub schedules: ScheduleService,
    pub audit: Arc<AuditTrail>,
    authenticator: Authenticator,
    clock: Arc<dyn Clock>,
}

impl App {
    /// Reads the settings and builds what outlives a request. Waits for no network: the database connection is opened
    /// in the background.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting: the function must not start.
    pub fn start(function: &'static str) -> Result<Self, SettingError> {
        start(|lookup| Self::with(function, lookup))
    }

    /// Reads the settings from `lookup`, and starts no logging.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn with(function: &'static str, lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let clock = clock();
        let authenticator = authenticator(lookup, &clock)?;
        let postgres = postgres(lookup)?;
        let audit = audit_trail(function, lookup, &postgres, &clock)?;
        let schedules = ScheduleService::new(postgres, Arc::clone(&audit));
        Ok(Self { schedules, audit, authenticator, clock })
    }

    /// The admin who sent a request.
    ///
    /// # Errors
    /// Why the caller is not accepted as an admin.
    pub async fn authenticate(&self, request: &Request) -> Result<Caller, Problem> {
        self.authenticator.authenticate(request).await
    }

    /// Now, by the function's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// An endpoint that only reads: nothing in it can write.
pub struct ReadApp {
    pub schedules: Arc<dyn ScheduleReader>,
    authenticator: Authenticator,
}

impl ReadApp {
    /// As [`App::start`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn start() -> Result<Self, SettingError> {
        start(Self::with)
    }

    /// As [`App::with`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn with(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let authenticator = authenticator(lookup, &clock())?;
        Ok(Self { schedules: postgres(lookup)?, authenticator })
    }

    /// As [`App::authenticate`].
    ///
    /// # Errors
    /// Why the caller is not accepted as an admin.
    pub async fn authenticate(&self, request: &Request) -> Result<Caller, Problem> {
        self.authenticator.authenticate(request).await
    }
}

/// The schedule processor.
pub struct ProcessorApp {
    pub processor: Processor,
    clock: Arc<dyn Clock>,
}

impl ProcessorApp {
    /// As [`App::start`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn start(function: &'static str) -> Result<Self, SettingError> {
        start(|lookup| Self::with(function, lookup))
    }

    /// As [`App::with`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn with(function: &'static str, lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let clock = clock();
        let postgres = postgres(lookup)?;
        let audit = audit_trail(function, lookup, &postgres, &clock)?;
        let watch = tick_watch(lookup)?;
        Ok(Self { processor: Processor::new(Arc::clone(&postgres) as _, postgres, audit, watch), clock })
    }

    /// Now, by the function's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The verification of the trail: nothing in it can write.
pub struct VerifierApp {
    pub verifier: Verifier,
    clock: Arc<dyn Clock>,
}

impl VerifierApp {
    /// As [`App::start`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn start() -> Result<Self, SettingError> {
        start(Self::with)
    }

    /// As [`App::with`].
    ///
    /// # Errors
    /// [`SettingError`] for a missing or invalid setting.
    pub fn with(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let postgres = postgres(lookup)?;
        let trail = CloudWatchTrailReader::new(audit_log_group(lookup)?);
        Ok(Self { verifier: Verifier::new(Arc::new(trail), postgres), clock: clock() })
    }

    /// Now, by the function's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Starts logging, and builds an app with the settings of the environment.
fn start<A>(build: impl FnOnce(Lookup<'_>) -> Result<A, SettingError>) -> Result<A, SettingError> {
    logging::start(&LogSettings::read(&environment));
    config::check_encoding()?;
    build(&environment)
}

/// Reads `TICK_WATCH`.
fn tick_watch(lookup: Lookup<'_>) -> Result<Watch, SettingError> {
    let Some(text) = config::optional(lookup, "TICK_WATCH") else { return Ok(Watch::default()) };
    let known = Watch::ALL.map(|(name, _)| name).join(", ");
    Watch::parse(&text)
        .ok_or_else(|| config::error("TICK_WATCH", format!("is not known; it must be one of {known}")))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn authenticator(lookup: Lookup<'_>, clock: &Arc<dyn Clock>) -> Result<Authenticator, SettingError> {
    let AuthSettings { keys, claims } = AuthSettings::read(lookup)?;
    let keys = KeySetCache::new(keys, Arc::new(Https), Arc::clone(clock));
    Ok(Authenticator::new(keys, claims, Arc::clone(clock)))
}

fn postgres(lookup: Lookup<'_>) -> Result<Arc<Postgres>, SettingError> {
    let settings = DatabaseSettings::read(lookup)?;
    let connections =
        Connections::new(&settings).map_err(|error| config::unusable(error.variable(), &error))?;
    let connections = Arc::new(connections);
    Connections::open(&connections);
    Ok(Arc::new(Postgres::new(connections)))
}

fn audit_trail(
    function: &'static str,
    lookup: Lookup<'_>,
    outbox: &Arc<Postgres>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<AuditTrail>, SettingError> {
    let log = CloudWatchAuditLog::new(audit_log_group(lookup)?, function);
    Ok(Arc::new(AuditTrail::new(Arc::clone(outbox) as _, Arc::new(log), Arc::clone(clock))))
}
