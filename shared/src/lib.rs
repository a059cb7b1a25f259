//! The flag schedule service: everything except the functions' `main`s.
//!
//! ```text
//! functions -> lambda, http -> service, processor -> ports -> domain -> (std, serde, chrono, uuid)
//!                                audit, verify ------> ports
//!                                adapters -----------> ports
//! ```
//!
//! Dependencies never point back: `domain`, `ports`, `service`, `processor`, `audit` and `verify` name no AWS, PostgreSQL or HTTP
//! type. Only [`app`] connects adapters to ports; only [`config`] reads the environment.
//!
//! To add an endpoint: a method of [`service::ScheduleService`]; what it needs from the store as one step in
//! [`ports::schedules`], with a statement in `adapters/postgres/sql/`; its input in [`http::request`] and its output in
//! [`http::views`]; a folder in `functions/` whose `handle` joins them; its resource, route and log stream in
//! `template.yaml`; its description in `docs/openapi.yaml`.

pub mod adapters;
pub mod app;
pub mod audit;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod lambda;
pub mod logging;
pub mod metrics;
pub mod ports;
pub mod processor;
pub mod service;
pub mod verify;
