//! `docs/openapi.yaml` and `docs/problems.md` are true: the service keeps to them, and they leave nothing out. That every
//! answer of every test is held against the description is in the harness (`tests/harness/openapi`).

mod check;
mod codes;
mod examples;
mod schemathesis;
