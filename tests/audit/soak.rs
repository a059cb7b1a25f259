//! Everything at once: creates, cancels, ticks, kills and a failing network to CloudWatch Logs, by fixed seeds. In the
//! end the trail and the database tell the same story, exactly.
//!
//! `SOAK_STEPS` makes it longer: `SOAK_STEPS=5000 make test T=soak`. A failure names the seed and the step.

use std::time::Duration;

use harness::api::{Api, cancel_request, create_request, tick_event};
use harness::lambda::{Function, Invocation, Outcome};
use harness::proxy::{Mode, Proxy};
use serde_json::{Value, json};

use super::trail::age_outbox;
use super::witness;
use crate::seeds::Dice;
use crate::support::{in_seconds, text};

const FLAGS: [&str; 4] = ["a", "b", "c", "d"];

/// Names the place when a test ends early.
struct Place {
    seed: u64,
    step: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the soak failed with seed {} after step {}", self.seed, self.step);
        }
    }
}

struct Soak {
    api: Api,
    network: Proxy,
    dice: Dice,
    token: String,
    schedules: Vec<(String, String)>,
}

impl Soak {
    async fn start(seed: u64) -> Self {
        let logs = harness::settings::get("TEST_LOGS_ENDPOINT").unwrap();
        let address = logs.trim_start_matches("http://").parse().unwrap();
        let network = Proxy::to(address).await;
        let endpoint = format!("http://{}", network.address());
        let api = Api::with().env_everywhere("AWS_ENDPOINT_URL", Some(&endpoint)).start().await;
        for flag in FLAGS {
            api.flag(flag, "production").await;
        }
        witness::start(&api).await;
        let token = api.admin();
        Self { api, network, dice: Dice(seed), token, schedules: Vec::new() }
    }

    async fn step(&mut self) {
        match self.dice.roll(20) {
            0..=6 => self.create().await,
            7..=9 => self.cancel().await,
            10..=12 => self.make_due().await,
            13..=15 => self.tick().await,
            16 => age_outbox(&self.api).await,
            17 => self.kill().await,
            _ => self.change_network(),
        }
    }

    async fn create(&mut self) {
        let flag = *self.dice.pick(&FLAGS);
        let percentage = self.dice.roll(101);
        let body = json!({
            "scheduled_at": in_seconds(3600),
            "apply_by": in_seconds(7200),
            "updates": {"enabled": self.dice.roll(2) == 0, "rollout_percentage": percentage},
            "reason": format!("line\n\"{percentage}\" \u{1b}[1m \u{202e}"),
        });
        let request = create_request(flag, "", &body).bearer(&self.token);
        let answer = self.call("create-schedule", &request.event()).await;
        if let Some(answer) = answer.filter(|answer| answer["statusCode"] == 201) {
            let schedule: Value = serde_json::from_str(text(&answer, "body")).unwrap();
            self.schedules.push((flag.to_owned(), text(&schedule, "id").to_owned()));
        }
    }

    async fn cancel(&mut self) {
        if self.schedules.is_empty() {
            return;
        }
        let (flag, id) = self.dice.pick(&self.schedules).clone();
        let request = cancel_request(&flag, &id, "reason=changed%20my%20mind").bearer(&self.token);
        self.call("cancel-schedule", &request.event()).await;
    }

    /// Some of what is pending becomes due; some of it too late, some of it broken.
    async fn make_due(&mut self) {
        let change =
            *self.dice.pick(&["", "", ", apply_by = now() - interval '1 second'", ", updates = '[]'"]);
        let count = self.dice.roll(4);
        let sql = format!(
            "update feature_flag_schedules set scheduled_at = now() - interval '2 seconds'{change} where id in
             (select id from feature_flag_schedules where status = 'pending' order by id limit {count})"
        );
        self.api.database.connect().await.batch_execute(&sql).await.unwrap();
    }

    async fn tick(&mut self) {
        self.call("schedule-processor", &tick_event()).await;
    }

    /// Kills a function, most of the time in the middle of something.
    async fn kill(&mut self) {
        let name = *self.dice.pick(&["create-schedule", "cancel-schedule", "schedule-processor"]);
        let after = Duration::from_micros(self.dice.roll(8_000));
        let body = json!({"scheduled_at": in_seconds(3600), "updates": {"enabled": true}});
        let event = match name {
            "create-schedule" => create_request("a", "", &body).bearer(&self.token).event(),
            "cancel-schedule" => {
                let (flag, id) = self.schedules.first().cloned().unwrap_or_default();
                cancel_request(&flag, &id, "").bearer(&self.token).event()
            }
            _ => tick_event(),
        };
        let function = self.api.function(name).await;
        let killing = async {
            tokio::time::sleep(after).await;
            function.kill();
        };
        tokio::join!(function.invoke(&event), killing);
    }

    /// Mostly it works; when it stalls, every delivery uses up its two seconds.
    fn change_network(&mut self) {
        let modes =
            [Mode::Pass, Mode::Pass, Mode::Pass, Mode::Cut, Mode::Cut, Mode::LoseAnswers, Mode::Stall];
        self.network.set(*self.dice.pick(&modes));
    }

    /// An answer, unless the function was killed; nothing else may keep it from answering.
    async fn call(&self, name: &str, event: &Value) -> Option<Value> {
        let function: &Function = self.api.function(name).await;
        let Invocation { outcome, .. } = function.invoke(event).await;
        match outcome {
            Outcome::Ok(answer) => {
                let status = answer["statusCode"].as_u64().unwrap_or(200);
                assert!(status < 500, "{name} answered {answer:#}");
                Some(answer)
            }
            Outcome::FunctionError(error) if error.error_type == "Runtime.ExitError" => None,
            outcome => panic!("{name} neither answered nor was killed: {outcome:?}"),
        }
    }

    /// With the network back, ticks deliver all that was left behind.
    async fn recover(&mut self) {
        self.network.set(Mode::Pass);
        self.api.settle().await;
        for _ in 0..20 {
            age_outbox(&self.api).await;
            let report = self.call("schedule-processor", &tick_event()).await.unwrap();
            if report["audit_backlog"] == 0 && report["still_due"] == 0 {
                return;
            }
        }
        panic!("the backlog does not drain");
    }
}

async fn soak(seed: u64) {
    let steps = harness::settings::get("SOAK_STEPS").map_or(150, |steps| steps.parse().unwrap());
    let mut place = Place { seed, step: 0 };
    let mut soak = Soak::start(seed).await;
    for step in 0..steps {
        place.step = step;
        soak.step().await;
    }
    soak.recover().await;

    let transitions = witness::compare(&soak.api).await;

    assert!(transitions > steps / 10, "a soak in which hardly anything happened: {transitions} transitions");
    let sql = "select count(*) from audit_outbox";
    let left: i64 = soak.api.database.connect().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(left, 0, "nothing is left in the outbox, and nothing is dead");
}

#[tokio::test]
async fn soak_with_seed_1() {
    soak(1).await;
}

#[tokio::test]
async fn soak_with_seed_2() {
    soak(2).await;
}

#[tokio::test]
async fn soak_with_seed_3() {
    soak(3).await;
}
