//! The flag schedule service.
