//! The real service and several processors on a database of their own, in process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flag_schedules::adapters::clock::SystemClock;
use flag_schedules::adapters::postgres::Postgres;
use flag_schedules::adapters::postgres::connection::Connections;
use flag_schedules::adapters::postgres::settings::DatabaseSettings;
use flag_schedules::audit::AuditTrail;
use flag_schedules::domain::admin::{Admin, CallContext, Caller};
use flag_schedules::domain::flag::{Environment, FlagAddress, FlagKey};
use flag_schedules::processor::{Processor, TickError, TickReport, Watch};
use flag_schedules::service::ScheduleService;
use harness::database::Database;
use harness::postgres::SERVICE_ROLE;
use tokio_postgres::Client;

use super::audit_log::Memory;

/// How long a tick may take that is not held up.
const TICK: Duration = Duration::from_secs(60);

/// Everything.
pub struct World {
    /// A superuser's connection.
    pub client: Client,
    /// Where the events go.
    pub log: Arc<Memory>,
    /// The service. It is connected as a superuser, so that [`World::kill`] can tell its connection from a processor's.
    pub service: ScheduleService,
    processors: Vec<Processor>,
    /// One more, which never waits.
    finisher: Processor,
    database: Database,
}

impl World {
    /// An empty database, and this many processors with a connection each.
    pub async fn start(processors: usize) -> Self {
        Self::start_watching(processors, Watch::Off).await
    }

    /// The same with processors that wait for what comes due.
    pub async fn start_watching(processors: usize, watch: Watch) -> Self {
        let database = Database::migrated().await;
        let log = Arc::new(Memory::default());
        let (postgres, audit) = stores(&database.superuser_url(), &log);
        let service = ScheduleService::new(Arc::new(postgres), audit);
        let processor = |watch| {
            let (postgres, audit) = stores(&database.url(), &log);
            let postgres = Arc::new(postgres);
            Processor::new(Arc::clone(&postgres) as _, postgres, audit, watch)
        };
        let processors = (0..processors).map(|_| processor(watch)).collect();
        let finisher = processor(Watch::Off);
        let client = database.connect_as_superuser().await;
        Self { client, log, service, processors, finisher, database }
    }

    /// Empties it.
    pub async fn clear(&self) {
        self.client.batch_execute("delete from feature_flags; delete from audit_outbox").await.unwrap();
        self.log.clear();
    }

    /// A tick of one of the processors.
    pub async fn tick(&self, processor: usize) -> Result<TickReport, TickError> {
        self.tick_until(processor, Instant::now() + TICK).await
    }

    /// The same with another deadline.
    pub async fn tick_until(&self, processor: usize, deadline: Instant) -> Result<TickReport, TickError> {
        self.processors[processor].tick("tick", deadline).await
    }

    /// One more connection of a superuser.
    pub async fn connect(&self) -> Client {
        self.database.connect_as_superuser().await
    }

    /// Ticks until nothing is due any more. After a kill that may take a moment: the server is still cleaning up.
    pub async fn finish(&self) {
        let deadline = Instant::now() + TICK;
        loop {
            let report = self.finisher.tick("tick", Instant::now() + TICK).await;
            if matches!(&report, Ok(report) if report.still_due == Some(0)) {
                return;
            }
            assert!(Instant::now() < deadline, "there is still something due: {report:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Kills the connection of one of the processors, if there is one.
    pub async fn kill(&self) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and usename = $1 order by random() limit 1";
        self.client.query_opt(sql, &[&SERVICE_ROLE]).await.unwrap();
    }
}

fn stores(url: &str, log: &Arc<Memory>) -> (Postgres, Arc<AuditTrail>) {
    let settings = DatabaseSettings::read(&|name| (name == "DATABASE_URL").then(|| url.to_owned())).unwrap();
    let postgres = Postgres::new(Arc::new(Connections::new(&settings).unwrap()));
    let audit = AuditTrail::new(Arc::new(postgres.clone()), Arc::clone(log) as _, Arc::new(SystemClock));
    (postgres, Arc::new(audit))
}

/// The flag of this key.
pub fn address(key: &str) -> FlagAddress {
    FlagAddress { key: FlagKey::parse(key.to_owned()).unwrap(), environment: Environment::default() }
}

/// An admin at work.
pub fn caller() -> Caller {
    Caller {
        admin: Admin { user_id: "admin-1".to_owned(), email: None },
        call: CallContext { request_id: "call".to_owned(), source_ip: None, user_agent: None },
    }
}
