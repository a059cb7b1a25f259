//! The flag schedule service: everything but the five `main`s.
//!
//! ```text
//! functions -> lambda, http -> service, processor -> ports -> domain -> (std, serde, chrono, uuid)
//!                                audit --------------> ports
//!                                adapters -----------> ports
//! ```
//!
//! Arrows never turn back: `domain`, `ports`, `service`, `processor` and `audit` name no AWS, PostgreSQL or HTTP type.
//! [`app`] alone puts adapters into ports; [`config`] alone reads the environment.
//!
//! To add an endpoint: a method of [`service::ScheduleService`] in domain words; what it needs of the store as one step
//! in [`ports::ScheduleStore`], with a statement in `adapters/postgres/sql/`; its input in [`http::request`] and its
//! answer in [`http::views`]; a folder in `functions/` whose `handle` joins them; its resource, route and stream in
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
