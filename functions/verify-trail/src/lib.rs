//! The verification: every day, compares the audit trail with the database.

use flag_schedules::app::VerifierApp;
use flag_schedules::lambda::{LambdaEvent, deadline_of};
use flag_schedules::metrics;
use flag_schedules::verify::window::Window;
use flag_schedules::verify::{Verification, VerifyError};
use serde_json::Value;

/// Verifies a window: `{"from", "to", "resume"}`, all optional.
///
/// # Errors
/// [`VerifyError`] for bad input, and when a side cannot be read.
pub async fn handle(app: &VerifierApp, event: LambdaEvent<Value>) -> Result<Verification, VerifyError> {
    // The caller made a mistake; the trail is as verified as before.
    let window = Window::parse(&event.payload, app.now())?;
    let verified = app.verifier.verify(window, app.now(), deadline_of(event.context.deadline)).await;
    let function = &event.context.env_config.function_name;
    metrics::print(&metrics::verification_line(verified.as_ref().ok(), function, app.now()));
    let verification = verified?;
    verification.log();
    Ok(verification)
}
