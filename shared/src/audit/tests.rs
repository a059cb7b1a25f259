//! The audit trail over an outbox and a log in memory: what becomes of an event, whatever the log says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::AuditTrail;
use super::batch::MAX_BYTES;
use crate::domain::admin::{Admin, CallContext, Caller};
use crate::domain::audit_event::{AuditEvent, EventContext, EventId, EventType, FlagChange};
use crate::domain::flag::{Environment, FlagKey, FlagState};
use crate::domain::schedule::{Schedule, ScheduleId, Status, StoredStatus};
use crate::domain::time::Timestamp;
use crate::ports::audit_log::{LogEvent, PutError};
use crate::ports::outbox::DeliveryCounts;

mod answers;
mod memory;
mod stored;

use memory::{MemoryLog, MemoryOutbox, Row, SetClock};

const NOW: &str = "2026-03-01T00:00:00.000Z";

struct Bench {
    outbox: Arc<MemoryOutbox>,
    log: Arc<MemoryLog>,
    clock: Arc<SetClock>,
    trail: AuditTrail,
}

impl Bench {
    fn new(script: impl FnMut(&[LogEvent]) -> Result<Vec<usize>, PutError> + Send + 'static) -> Self {
        let outbox = Arc::new(MemoryOutbox::default());
        let log = Arc::new(MemoryLog {
            taken: Mutex::default(),
            calls: Mutex::default(),
            script: Mutex::new(Box::new(script)),
        });
        let clock = Arc::new(SetClock(Mutex::new(Timestamp::parse(NOW).unwrap())));
        let trail = AuditTrail::new(Arc::clone(&outbox) as _, Arc::clone(&log) as _, Arc::clone(&clock) as _);
        Self { outbox, log, clock, trail }
    }

    fn then(&self, script: impl FnMut(&[LogEvent]) -> Result<Vec<usize>, PutError> + Send + 'static) {
        *self.log.script.lock().unwrap() = Box::new(script);
    }

    /// A committed change, as the service records it; or one of the processor, which queues nothing.
    fn record(&self, event_type: EventType, schedule: Schedule) -> EventId {
        let row = Row {
            id: EventId::new(),
            event_type,
            context: context(event_type),
            schedule: Some(schedule.clone()),
            refused: false,
            dead: None,
            old: false,
        };
        let id = row.id;
        if !EventType::OF_PROCESSOR.contains(&event_type) {
            let event = AuditEvent::of(id, event_type, row.context.clone(), &schedule).unwrap();
            self.trail.enqueue_stored_event(event);
        }
        self.outbox.rows.lock().unwrap().push(row);
        id
    }

    async fn flush(&self) -> DeliveryCounts {
        self.trail.flush(soon()).await
    }

    async fn sweep(&self) -> DeliveryCounts {
        self.trail.sweep(soon()).await
    }

    fn delivered(&self) -> Vec<Value> {
        let taken = self.log.taken.lock().unwrap();
        taken.iter().map(|event| serde_json::from_str(&event.message).unwrap()).collect()
    }

    fn left(&self) -> Vec<Row> {
        self.outbox.rows.lock().unwrap().clone()
    }

    fn age_all(&self) {
        self.outbox.rows.lock().unwrap().iter_mut().for_each(|row| row.old = true);
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn take_all(_: &[LogEvent]) -> Result<Vec<usize>, PutError> {
    Ok(Vec::new())
}

fn down(_: &[LogEvent]) -> Result<Vec<usize>, PutError> {
    Err(PutError::Unavailable("connection refused".into()))
}

fn context(event_type: EventType) -> EventContext {
    match event_type {
        EventType::Created | EventType::Cancelled => EventContext::of_admin(&Caller {
            admin: Admin { user_id: "anna".to_owned(), email: Some("anna@example.com".to_owned()) },
            call: CallContext { request_id: "r".to_owned(), source_ip: None, user_agent: None },
        }),
        EventType::Applied => EventContext {
            change: Some(FlagChange {
                before: FlagState { enabled: false, rollout_percentage: 0 },
                after: FlagState { enabled: true, rollout_percentage: 0 },
            }),
            ..EventContext::of_processor("t")
        },
        EventType::Failed => EventContext::of_processor("t"),
    }
}

fn schedule() -> Schedule {
    let time = |text| Timestamp::parse(text).unwrap();
    Schedule {
        id: ScheduleId(Uuid::now_v7()),
        flag_key: FlagKey::parse("new-checkout".to_owned()).unwrap(),
        environment: Environment::default(),
        scheduled_at: time("2026-02-09T09:00:00Z"),
        apply_by: None,
        status: StoredStatus::Known(Status::Pending),
        updates: json!({"enabled": true}).into(),
        expect: None,
        reason: None,
        created_at: Some(time("2026-02-09T08:00:00Z")),
        created_by: Some("anna".to_owned()),
        cancelled_at: Some(time("2026-02-09T08:30:00Z")),
        cancelled_by: None,
        cancel_reason: None,
        applied_at: Some(time("2026-02-09T09:00:01Z")),
        failed_at: Some(time("2026-02-09T09:00:02Z")),
        error_code: Some("expired".to_owned()),
        error_message: Some("too late".to_owned()),
    }
}

#[tokio::test]
async fn each_type_of_event_is_delivered_and_leaves_the_outbox() {
    for event_type in EventType::ALL {
        let bench = Bench::new(take_all);
        let id = bench.record(event_type, schedule());

        let (flushed, swept) = (bench.flush().await, bench.sweep().await);

        let (one, none) = (DeliveryCounts { held: 1, delivered: 1, dead: 0 }, DeliveryCounts::default());
        let is_of_processor = EventType::OF_PROCESSOR.contains(&event_type);
        let expected = if is_of_processor { (none, one) } else { (one, none) };
        assert_eq!((flushed, swept), expected, "{event_type:?}");
        let delivered = bench.delivered();
        assert_eq!(delivered[0]["event_type"], event_type.as_str());
        assert_eq!(delivered[0]["event_id"], json!(id));
        assert!(bench.left().is_empty());
    }
}

#[tokio::test]
async fn an_event_is_stamped_with_the_time_of_its_transition() {
    let bench = Bench::new(take_all);
    bench.record(EventType::Applied, schedule());

    bench.sweep().await;

    let expected = Timestamp::parse("2026-02-09T09:00:01Z").unwrap().to_utc().timestamp_millis();
    assert_eq!(bench.log.taken.lock().unwrap()[0].timestamp_ms, expected);
    assert_eq!(bench.delivered()[0]["lateness_ms"], 1000);
}

#[tokio::test]
async fn a_batch_is_ordered_by_time() {
    let bench = Bench::new(take_all);
    bench.record(EventType::Failed, schedule());
    bench.record(EventType::Created, schedule());
    bench.record(EventType::Applied, schedule());
    bench.age_all();

    bench.sweep().await;

    let types: Vec<Value> = bench.delivered().iter().map(|event| event["event_type"].clone()).collect();
    assert_eq!(types, ["flag_schedule.created", "flag_schedule.applied", "flag_schedule.failed"]);
    assert_eq!(bench.log.calls.lock().unwrap().len(), 1, "one call for all");
}

#[tokio::test]
async fn with_the_log_down_events_stay_and_the_sweep_delivers_them_with_the_same_id() {
    let bench = Bench::new(down);
    let id = bench.record(EventType::Created, schedule());

    assert_eq!(bench.flush().await.delivered, 0);
    assert_eq!(bench.left().len(), 1);
    assert!(bench.left()[0].dead.is_none(), "an outage kills no event");

    bench.then(take_all);
    assert_eq!(bench.sweep().await.held, 0, "young rows are not the sweep's");
    bench.age_all();
    assert_eq!(bench.sweep().await.delivered, 1);
    assert_eq!(bench.delivered()[0]["event_id"], json!(id));
    assert!(bench.left().is_empty());
}

#[tokio::test]
async fn an_event_refused_for_its_time_is_sent_again_with_the_time_of_sending() {
    let bench = Bench::new(take_all);
    let now = Timestamp::parse(NOW).unwrap().to_utc().timestamp_millis();
    bench.then(move |batch| Ok((0..batch.len()).filter(|index| batch[*index].timestamp_ms < now).collect()));
    bench.record(EventType::Created, schedule());

    let counts = bench.flush().await;

    assert_eq!(counts.delivered, 1);
    assert_eq!(bench.log.taken.lock().unwrap()[0].timestamp_ms, now);
    assert_eq!(bench.delivered()[0]["occurred_at"], "2026-02-09T08:00:00.000Z", "inside it stays true");
}

#[tokio::test]
async fn an_event_refused_twice_is_dead_with_a_reason_and_blocks_no_other() {
    let bench = Bench::new(|batch| {
        Ok((0..batch.len()).filter(|index| batch[*index].message.contains("poison")).collect())
    });
    bench.record(EventType::Created, Schedule { reason: Some("poison".to_owned()), ..schedule() });
    bench.record(EventType::Created, schedule());

    let counts = bench.flush().await;

    assert_eq!(counts, DeliveryCounts { held: 2, delivered: 1, dead: 1 });
    let left = bench.left();
    assert_eq!(left.len(), 1);
    assert!(
        left[0].dead.as_deref().is_some_and(|reason| reason.contains("time of sending")),
        "{:?}",
        left[0].dead
    );
}

#[tokio::test]
async fn a_refused_batch_is_cut_down_to_the_one_event_at_fault() {
    let bench = Bench::new(|batch| {
        if batch.iter().any(|event| event.message.contains("poison")) {
            Err(PutError::Invalid("InvalidParameterException".into()))
        } else {
            Ok(Vec::new())
        }
    });
    for index in 0..500 {
        let reason = (index == 123).then(|| "poison".to_owned());
        bench.record(EventType::Created, Schedule { reason, ..schedule() });
    }

    let counts = bench.flush().await;

    assert_eq!(counts, DeliveryCounts { held: 500, delivered: 499, dead: 1 });
    let calls = bench.log.calls.lock().unwrap().len();
    assert!(calls <= 20, "{calls} calls for one culprit among 500");
}

#[tokio::test]
async fn an_event_too_large_for_the_log_is_dead_and_never_sent() {
    let bench = Bench::new(take_all);
    let huge = json!({ "colour": "x".repeat(MAX_BYTES) });
    bench.record(EventType::Failed, Schedule { updates: huge.into(), ..schedule() });
    bench.record(EventType::Failed, schedule());

    let counts = bench.sweep().await;

    assert_eq!(counts, DeliveryCounts { held: 2, delivered: 1, dead: 1 });
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_dead_and_blocks_no_other() {
    let bench = Bench::new(take_all);
    bench.record(EventType::Created, schedule());
    bench.record(EventType::Created, schedule());
    bench.outbox.rows.lock().unwrap()[0].schedule = None;
    bench.age_all();

    let counts = bench.sweep().await;

    assert_eq!(counts, DeliveryCounts { held: 2, delivered: 1, dead: 1 });
    assert_eq!(bench.left()[0].dead.as_deref(), Some("missing field `id`"));
}

#[tokio::test]
async fn an_event_without_an_outbox_row_is_sent_directly_and_again_until_it_is_taken() {
    let bench = Bench::new(down);
    let id = EventId::new();
    let event = AuditEvent::of(id, EventType::Created, context(EventType::Created), &schedule()).unwrap();
    bench.trail.enqueue_direct_events(vec![event]);

    bench.flush().await;
    assert!(bench.delivered().is_empty());

    bench.then(take_all);
    bench.flush().await;
    assert_eq!(bench.delivered().len(), 1);
    assert_eq!(bench.delivered()[0]["event_id"], json!(id));

    bench.flush().await;
    assert_eq!(bench.delivered().len(), 1, "sent once");
}

#[tokio::test]
async fn more_events_than_one_hold_are_all_delivered_in_one_sweep() {
    let bench = Bench::new(take_all);
    for _ in 0..2_500 {
        bench.record(EventType::Created, schedule());
    }
    bench.age_all();

    assert_eq!(bench.sweep().await.delivered, 2_500);
    assert!(bench.left().is_empty());
}

#[tokio::test]
async fn past_the_deadline_nothing_is_sent_and_everything_kept() {
    let bench = Bench::new(take_all);
    bench.record(EventType::Created, schedule());

    bench.trail.flush(Instant::now()).await;

    assert!(bench.delivered().is_empty());
    assert_eq!(bench.left().len(), 1);
}

#[tokio::test]
async fn a_sweep_goes_on_as_long_as_it_gets_somewhere() {
    // A day apart: a batch each.
    let created = |day: &str| Schedule {
        created_at: Timestamp::parse(&format!("2026-02-{day}T08:00:00Z")),
        ..schedule()
    };
    let mut calls = 0;
    let bench = Bench::new(move |_| {
        calls += 1;
        if calls == 2 { Err(PutError::Unavailable("throttled".into())) } else { Ok(Vec::new()) }
    });
    for day in ["01", "03", "05"] {
        bench.record(EventType::Created, created(day));
    }
    bench.age_all();

    let counts = bench.sweep().await;

    assert_eq!(counts.delivered, 3);
    assert!(bench.left().is_empty());
}

#[tokio::test]
async fn a_sweep_that_gets_nowhere_ends() {
    let bench = Bench::new(down);
    for _ in 0..1_500 {
        bench.record(EventType::Created, schedule());
    }
    bench.age_all();

    let counts = bench.sweep().await;

    assert_eq!(counts.delivered, 0);
    assert_eq!(bench.log.calls.lock().unwrap().len(), 1, "one attempt is enough to see that the log is down");
}
