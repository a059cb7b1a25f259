//! Plays a history on the real thing and on the model.

use std::time::Duration;

use chrono::TimeDelta;
use flag_schedules::domain::schedule::{Cancellation, NewSchedule, ScheduleId, Updates};
use flag_schedules::domain::time::Timestamp;
use flag_schedules::ports::schedules::ScheduleError;
use flag_schedules::service::Created;
use proptest::sample::Index;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit_log::Mode;
use super::recorded_history::{History, Planned, Round, Ticks};
use super::reference::{ApplyBy, Model, Schedule};
use super::world::{World, address, caller};

const MAKE_FLAGS: &str = "insert into feature_flags (flag_key, enabled, rollout_percentage)
    select * from jsonb_to_recordset($1) as f (key text, enabled boolean, percentage integer)";

/// As another tool would.
const MAKE_SCHEDULES: &str = "insert into feature_flag_schedules (id, flag_id, scheduled_at, updates, expect)
    select s.id, f.id, now() + interval '1 hour', s.row -> 'updates', nullif(s.row -> 'expect', 'null')
    from jsonb_to_recordset($1) as s (id uuid, flag_key text, row jsonb)
    join feature_flags f on f.flag_key = s.flag_key";

/// Time is moved: seconds after an hour ago, and a limit half an hour from now or half an hour ago.
const MAKE_DUE: &str = "update feature_flag_schedules s
    set scheduled_at = date_trunc('hour', now()) - interval '1 hour' + make_interval(secs => d.scheduled_at),
        created_at = date_trunc('hour', now()) - interval '2 hours' + make_interval(secs => d.created_at),
        apply_by = now() + make_interval(mins => d.apply_by_in)
    from jsonb_to_recordset($1)
        as d (id uuid, scheduled_at integer, created_at integer, apply_by_in integer)
    where s.id = d.id";

/// A history under way.
pub struct Play<'a> {
    world: &'a World,
    /// What must have come of it.
    pub model: Model,
    /// By schedule: when it becomes due.
    due_in: Vec<usize>,
    trouble: Vec<String>,
}

impl<'a> Play<'a> {
    /// From an empty world to the end of a history. Gives what the real thing answered otherwise than the model.
    pub async fn of(world: &'a World, history: &History) -> (Model, Vec<String>) {
        world.clear().await;
        let mut play = Self { world, model: Model::default(), due_in: Vec::new(), trouble: Vec::new() };
        let flags: Vec<Value> = (0..)
            .zip(&history.flags)
            .map(|(index, (enabled, percentage))| {
                json!({"key": key(index), "enabled": enabled, "percentage": percentage})
            })
            .collect();
        play.execute(MAKE_FLAGS, flags).await;
        history.flags.iter().for_each(|state| play.model.flag(*state));
        for (number, round) in history.rounds.iter().enumerate() {
            play.round(number, round).await;
        }
        (play.model, play.trouble)
    }

    async fn round(&mut self, number: usize, round: &Round) {
        self.make(number, &round.schedules).await;
        self.make_due(number).await;
        for index in &round.cancelled {
            self.cancel(index).await;
        }
        if let Some(index) = round.deleted {
            let flag = index.index(self.model.flags.len());
            self.delete(flag).await;
            self.model.delete(flag);
        }
        self.tick(&round.ticks).await;
    }

    async fn make(&mut self, number: usize, schedules: &[Planned]) {
        let mut rows = Vec::new();
        for planned in schedules {
            let flag = planned.flag.index(self.model.flags.len());
            let mut id = Uuid::from_u128(planned.id);
            if self.model.flags[flag].deleted {
                continue;
            } else if planned.by_service {
                id = self.create(flag, planned).await;
            } else {
                rows.push(json!({"id": id, "flag_key": key(flag), "row": {"updates": planned.updates, "expect": planned.expect}}));
            }
            self.due_in.push(number + planned.rounds_ahead);
            self.model.schedules.push(Schedule {
                id,
                flag,
                scheduled_at: planned.scheduled_at,
                created_at: planned.created_at,
                apply_by: planned.apply_by,
                updates: planned.updates.clone(),
                expect: planned.expect.clone(),
                by_service: planned.by_service,
                due: false,
                end: None,
            });
        }
        self.execute(MAKE_SCHEDULES, rows).await;
    }

    async fn create(&self, flag: usize, planned: &Planned) -> Uuid {
        let at = harness::clock::now() + TimeDelta::hours(1);
        let schedule = NewSchedule {
            flag: address(&key(flag)),
            scheduled_at: Timestamp::truncate(at),
            apply_by: None,
            updates: Updates::parse(&planned.updates).unwrap(),
            expect: Updates::parse(&planned.expect).ok(),
            reason: None,
            idempotency_key: None,
        };
        match self.world.service.create(&caller(), &schedule).await {
            Ok(Created::New(schedule)) => schedule.id.0,
            other => panic!("expected a new schedule, got {other:?}"),
        }
    }

    async fn make_due(&mut self, number: usize) {
        let mut rows = Vec::new();
        for (schedule, due_in) in self.model.schedules.iter_mut().zip(&self.due_in) {
            if *due_in == number && schedule.end.is_none() {
                schedule.due = true;
                rows.push(json!({
                    "id": schedule.id,
                    "scheduled_at": schedule.scheduled_at,
                    "created_at": schedule.created_at,
                    "apply_by_in": match schedule.apply_by {
                        ApplyBy::Never => None,
                        ApplyBy::Past => Some(-30),
                        ApplyBy::Ahead => Some(30),
                    },
                }));
            }
        }
        self.execute(MAKE_DUE, rows).await;
    }

    async fn cancel(&mut self, which: &Index) {
        let Some(index) = self.schedule(which) else { return };
        let answer = self.send_cancel(index).await;
        let cancelled = self.model.cancel(index);
        let fits = match answer {
            Ok(()) => cancelled,
            Err(ScheduleError::NotPending(_)) => !cancelled && !self.is_deleted(index),
            Err(ScheduleError::NoSuchFlag) => self.is_deleted(index),
            Err(_) => false,
        };
        if !fits {
            self.trouble.push(format!("schedule {index}: a cancel was answered with {answer:?}"));
        }
    }

    async fn tick(&mut self, ticks: &Ticks) {
        let Self { world, .. } = *self;
        world.log.set(ticks.log);
        if ticks.sweeps {
            let sql = "update audit_outbox set written_at = written_at - interval '1 minute'";
            world.client.execute(sql, &[]).await.unwrap();
        }
        let cancelled =
            ticks.cancelled.and_then(|(which, after)| self.schedule(&which).map(|index| (index, after)));
        let deleted = ticks.deleted.map(|(which, after)| (which.index(self.model.flags.len()), after));

        let killing = async {
            for after in &ticks.kills {
                pause(*after).await;
                world.kill().await;
            }
        };
        let cancelling = async {
            let (index, after) = cancelled?;
            pause(after).await;
            Some((index, self.send_cancel(index).await))
        };
        let deleting = async {
            let (flag, after) = deleted?;
            pause(after).await;
            self.delete(flag).await;
            Some(flag)
        };
        let ticking =
            futures_util::future::join_all((0..ticks.processors).map(|processor| world.tick(processor)));
        let (reports, (), answer, deleted) = tokio::join!(ticking, killing, cancelling, deleting);
        // Nothing becomes due during ticks, so one that saw nothing more is enough.
        let finished = reports.iter().flatten().any(|report| report.still_due == Some(0));
        if !finished {
            // They were killed, or left what a cancel held at the moment.
            world.finish().await;
        }
        world.log.set(Mode::Takes);

        // Who has won the race is not the model's to say; that the answer tells is.
        if let Some((index, answer)) = answer {
            let racing = deleted == Some(self.model.schedules[index].flag);
            let fits = match &answer {
                Ok(()) => self.model.cancel(index),
                Err(ScheduleError::NotPending(_)) => self.may_have_ended(index),
                Err(ScheduleError::NoSuchFlag) => racing || self.is_deleted(index),
                Err(ScheduleError::NoSuchSchedule) => racing,
                Err(_) => false,
            };
            if !fits {
                self.trouble
                    .push(format!("schedule {index}: a cancel during ticks was answered with {answer:?}"));
            }
        }
        if let Some(flag) = deleted {
            self.model.delete_during_ticks(flag);
        }
        let ended = self.model.tick();
        if ticks.kills.is_empty() && deleted.is_none() && (finished || ticks.cancelled.is_none()) {
            let reported: u64 = reports.iter().flatten().map(|report| report.applied + report.failed()).sum();
            if reports.iter().any(Result::is_err) || usize::try_from(reported) != Ok(ended) {
                self.trouble.push(format!("{ended} schedules ended, but the ticks report {reports:?}"));
            }
        }
    }

    async fn send_cancel(&self, index: usize) -> Result<(), ScheduleError> {
        let schedule = &self.model.schedules[index];
        let (flag, id) = (address(&key(schedule.flag)), ScheduleId(schedule.id));
        let cancellation = Cancellation { flag, id, reason: None };
        self.world.service.cancel(&caller(), &cancellation).await.map(drop)
    }

    async fn delete(&self, flag: usize) {
        let sql = "delete from feature_flags where flag_key = $1";
        self.world.client.execute(sql, &[&key(flag)]).await.unwrap();
    }

    async fn execute(&self, sql: &str, rows: Vec<Value>) {
        if !rows.is_empty() {
            self.world.client.execute(sql, &[&Value::Array(rows)]).await.unwrap();
        }
    }

    fn schedule(&self, which: &Index) -> Option<usize> {
        let count = self.model.schedules.len();
        (count > 0).then(|| which.index(count))
    }

    fn may_have_ended(&self, index: usize) -> bool {
        let schedule = &self.model.schedules[index];
        !self.is_deleted(index) && (schedule.due || schedule.end.is_some())
    }

    fn is_deleted(&self, index: usize) -> bool {
        self.model.flags[self.model.schedules[index].flag].deleted
    }
}

/// The key of a flag.
pub fn key(flag: usize) -> String {
    format!("flag-{flag}")
}

/// Waiting is what this is about: any moment of a tick may be the one.
async fn pause(micros: u64) {
    tokio::time::sleep(Duration::from_micros(micros)).await;
}
