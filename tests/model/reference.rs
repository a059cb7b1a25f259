//! Flags and schedules in memory, by the rules of the design: due changes of a flag are applied in the order
//! `scheduled_at`, `created_at`, `id`; later ones win field by field; each schedule has one end.

use serde_json::Value;
use uuid::Uuid;

/// `enabled` and `rollout_percentage`.
pub type State = (bool, i64);

/// Whether a change may still be applied when it comes up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApplyBy {
    /// There is no limit.
    Never,
    /// The limit is past.
    Past,
    /// The limit is far ahead.
    Ahead,
}

/// How a schedule ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The flag was changed, from and to.
    Applied(State, State),
    /// It was not, for the reason with this code, from this state.
    Failed(&'static str, State),
    /// It was taken back.
    Cancelled,
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its id.
    pub id: Uuid,
    /// The index of its flag.
    pub flag: usize,
    /// When it is due, in any unit.
    pub scheduled_at: u64,
    /// When it was created, in any unit.
    pub created_at: u64,
    /// The limit.
    pub apply_by: ApplyBy,
    /// What it asks for, as stored.
    pub updates: Value,
    /// The state that it expects, as stored; null for any.
    pub expect: Value,
    /// Whether its creation was the service's doing, and so has an event.
    pub by_service: bool,
    /// Whether its time has come.
    pub due: bool,
    /// How it ended.
    pub end: Option<End>,
}

/// A flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// How it stands.
    pub state: State,
    /// Whether it is gone, and its schedules with it.
    pub deleted: bool,
    /// The indexes of those of its schedules that may have ended just before it was deleted, in order: the first of
    /// them may have, and then some more, or all.
    pub uncertain: Vec<usize>,
}

/// All flags and schedules.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The flags.
    pub flags: Vec<Flag>,
    /// The schedules, those of deleted flags included.
    pub schedules: Vec<Schedule>,
}

impl Model {
    /// A flag in this state.
    pub fn flag(&mut self, state: State) {
        self.flags.push(Flag { state, deleted: false, uncertain: Vec::new() });
    }

    /// Cancels a schedule; says whether it could be.
    pub fn cancel(&mut self, index: usize) -> bool {
        let schedule = &mut self.schedules[index];
        let pending = schedule.end.is_none() && !self.flags[schedule.flag].deleted;
        if pending {
            schedule.end = Some(End::Cancelled);
        }
        pending
    }

    /// Deletes a flag.
    pub fn delete(&mut self, flag: usize) {
        self.flags[flag].deleted = true;
    }

    /// Deletes a flag while ticks are at work on it.
    pub fn delete_during_ticks(&mut self, flag: usize) {
        if !self.flags[flag].deleted {
            self.flags[flag].uncertain = self.apply(flag);
            self.delete(flag);
        }
    }

    /// Applies what is due; says how many schedules ended.
    pub fn tick(&mut self) -> usize {
        let standing: Vec<_> = (0..self.flags.len()).filter(|flag| !self.flags[*flag].deleted).collect();
        standing.into_iter().map(|flag| self.apply(flag).len()).sum()
    }

    fn apply(&mut self, flag: usize) -> Vec<usize> {
        let mut due: Vec<usize> = (0..self.schedules.len())
            .filter(|index| {
                let schedule = &self.schedules[*index];
                schedule.flag == flag && schedule.due && schedule.end.is_none()
            })
            .collect();
        due.sort_by_key(|index| {
            let schedule = &self.schedules[*index];
            (schedule.scheduled_at, schedule.created_at, schedule.id)
        });
        for index in &due {
            let schedule = &mut self.schedules[*index];
            let before = self.flags[flag].state;
            schedule.end = Some(match wanted(&schedule.updates) {
                None => End::Failed("invalid_updates", before),
                Some(_) if schedule.apply_by == ApplyBy::Past => End::Failed("expired", before),
                Some(_) if !is_expected(&schedule.expect, before) => End::Failed("unexpected_state", before),
                Some((enabled, percentage)) => {
                    let after = (enabled.unwrap_or(before.0), percentage.unwrap_or(before.1));
                    self.flags[flag].state = after;
                    End::Applied(before, after)
                }
            });
        }
        due
    }
}

/// Whether a state has the values that are expected.
fn is_expected(expect: &Value, (enabled, percentage): State) -> bool {
    expect.is_null()
        || wanted(expect).is_some_and(|(wanted_enabled, wanted_percentage)| {
            wanted_enabled.is_none_or(|wanted| wanted == enabled)
                && wanted_percentage.is_none_or(|wanted| wanted == percentage)
        })
}

/// What valid `updates` ask for: at least one of the fields, nothing else, the percentage in one of its spellings.
fn wanted(updates: &Value) -> Option<(Option<bool>, Option<i64>)> {
    let fields = updates.as_object()?;
    let spellings = ["rollout_percentage", "rolloutPercentage"];
    let known = |key: &String| key == "enabled" || spellings.contains(&key.as_str());
    let percentages: Vec<&Value> = spellings.iter().filter_map(|key| fields.get(*key)).collect();
    if fields.is_empty() || !fields.keys().all(known) || percentages.len() > 1 {
        return None;
    }
    let enabled = match fields.get("enabled") {
        Some(value) => Some(value.as_bool()?),
        None => None,
    };
    let percentage = match percentages.first() {
        Some(value) => Some(value.as_i64().filter(|percentage| (0..=100).contains(percentage))?),
        None => None,
    };
    Some((enabled, percentage))
}
