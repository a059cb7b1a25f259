//! The tick: every minute, applies what is due and sends audit events that stayed behind.

use flag_schedules::app::ProcessorApp;
use flag_schedules::lambda::{LambdaEvent, deadline_of};
use flag_schedules::metrics;
use flag_schedules::processor::TickReport;
use serde_json::Value;

mod failure;

pub use failure::TickFailed;

/// Runs one tick. What the event says does not matter: due is what the database's clock says is due.
///
/// # Errors
/// [`TickFailed`] when the tick could do nothing at all, so that Lambda counts an error and the alarm sees it.
pub async fn handle(app: &ProcessorApp, event: LambdaEvent<Value>) -> Result<TickReport, TickFailed> {
    let report = app
        .processor
        .tick(&event.context.request_id, deadline_of(event.context.deadline))
        .await
        .map_err(|error| TickFailed::new(&error))?;
    // The deployed function's name, so that two stacks in one account have each their own metrics.
    metrics::print(&metrics::line(&report, &event.context.env_config.function_name, app.now()));
    Ok(report)
}
