//! The HTTP toolkit: from an API Gateway event to a request, who is asking, and back to a response.

pub mod algorithms;
pub mod auth;
pub mod body;
pub mod cursor;
pub mod event;
pub mod json;
pub mod keys;
pub mod problem;
mod query;
pub mod request;
pub mod token;
pub mod views;
