//! What each function is made of: the one place that puts adapters into ports.

use std::sync::Arc;

use crate::adapters::clock::SystemClock;
use crate::adapters::cloudwatch::CloudWatchAuditLog;
use crate::adapters::https::Https;
use crate::adapters::postgres::Postgres;
use crate::adapters::postgres::connection::Connections;
use crate::audit::AuditTrail;
use crate::config::{self, AuthSettings, DatabaseSettings, LogSettings, Lookup, SettingError, environment};
use crate::domain::admin::Caller;
use crate::domain::time::Timestamp;
use crate::http::auth::Authenticator;
use crate::http::keys::Keys;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::lambda;
use crate::ports::Clock;
use crate::processor::Processor;
use crate::service::ScheduleService;

/// What an HTTP function is made of.
pub struct App {
    /// What admins can do.
    pub schedules: ScheduleService,
    /// Where the events go.
    pub audit: Arc<AuditTrail>,
    authenticator: Authenticator,
    clock: Arc<dyn Clock>,
}

impl App {
    /// Reads the settings and builds what outlives a request. Touches no network: the database connection is opened
    /// in the background.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or bad setting: the function must not start.
    pub fn start(function: &'static str) -> Result<Self, SettingError> {
        lambda::start_logging(&LogSettings::read(&environment));
        Self::with(function, &environment)
    }

    /// Builds it with settings from elsewhere than the environment, and starts no logging.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or bad setting.
    pub fn with(function: &'static str, lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let auth = AuthSettings::read(lookup)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (postgres, audit) = stores(function, lookup, &clock)?;
        Ok(Self {
            schedules: ScheduleService::new(Arc::new(postgres), Arc::clone(&audit)),
            audit,
            authenticator: Authenticator::new(
                Keys::new(auth.keys, Arc::new(Https), Arc::clone(&clock)),
                auth.claims,
                Arc::clone(&clock),
            ),
            clock,
        })
    }

    /// The admin behind a request.
    ///
    /// # Errors
    /// Whatever keeps the caller from being an admin.
    pub async fn authenticate(&self, request: &Request) -> Result<Caller, Problem> {
        self.authenticator.authenticate(request).await
    }

    /// Now, by the function's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What the processor is made of.
pub struct ProcessorApp {
    /// A tick.
    pub processor: Processor,
    clock: Arc<dyn Clock>,
}

impl ProcessorApp {
    /// Reads the settings and builds what outlives a tick.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or bad setting: the function must not start.
    pub fn start(function: &'static str) -> Result<Self, SettingError> {
        lambda::start_logging(&LogSettings::read(&environment));
        Self::with(function, &environment)
    }

    /// Builds it with settings from elsewhere than the environment, and starts no logging.
    ///
    /// # Errors
    /// [`SettingError`] for a missing or bad setting.
    pub fn with(function: &'static str, lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (postgres, audit) = stores(function, lookup, &clock)?;
        let postgres = Arc::new(postgres);
        Ok(Self { processor: Processor::new(Arc::clone(&postgres) as _, postgres, audit), clock })
    }

    /// Now, by the function's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn stores(
    function: &'static str,
    lookup: Lookup<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<(Postgres, Arc<AuditTrail>), SettingError> {
    let database = DatabaseSettings::read(lookup)?;
    let group = config::audit_log_group(lookup)?;
    let connections =
        Connections::new(&database).map_err(|error| config::unusable(error.variable(), &error))?;
    let connections = Arc::new(connections);
    Connections::open(&connections);
    let postgres = Postgres::new(connections);
    let log = CloudWatchAuditLog::new(group, function);
    let audit = AuditTrail::new(Arc::new(postgres.clone()), Arc::new(log), Arc::clone(clock));
    Ok((postgres, Arc::new(audit)))
}
