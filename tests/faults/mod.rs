//! Any fault at any point of any call.
//!
//! # The matrix
//! A *case* is a call of one function ([`scenario`]) with one or two faults ([`fault_kinds`]). Its points are not written down
//! anywhere: each scenario is played once without a fault behind a proxy that recognises statements by the comment they
//! begin with ([`harness::interceptor`]), and every message that it sends is a point, `begin` and `commit` included. A
//! statement of `shared/src/adapters/postgres/sql` that no scenario sends fails a test: add a scenario for it.
//!
//! A [`lane`] is a service of its own (database, proxy, CloudWatch Logs, one process of each function) that plays one
//! case after the other, each on flags of its own; a case that fails costs its lane. [`case`] plays: arrange, put the
//! faults in, call, take them out, retry what was answered with 5xx, tick until nothing is due and the outbox is empty.
//! [`invariants`] then holds the invariants I1 to I9 against rows, events, logs and answers.
//!
//! # Playing it
//! - `make test T=fault_matrix`: all single faults and a sample of pairs;
//! - `FAULT_CASE='tick:commit.1/lose-answer' make test T=fault_matrix`: one case, or all whose name has this in it;
//! - `FAULT_MINUTES=20 make test T=fault_matrix_of_pairs`: pairs for so long, `FAULT_SEED` decides which.
//!
//! # Named cases
//! `locked_rows`, `losses`, `memory`, `prepared`, `triggers`, `undeletable` and `unsettled` have tests of what has gone wrong before.

mod case;
mod fault_kinds;
mod invariants;
mod lane;
mod locked_rows;
mod losses;
mod matrix;
mod memory;
mod prepared;
mod scenario;
mod triggers;
mod undeletable;
mod unsettled;
