//! HTTP: API Gateway events to requests, authentication, and responses.

pub mod algorithms;
pub mod auth;
pub mod auth_settings;
pub mod body;
pub mod claim_path;
pub mod cursor;
pub mod event;
mod input;
pub mod input_error;
pub mod json;
pub mod keys;
pub mod problem;
mod query;
pub mod request;
pub mod token;
pub mod views;
