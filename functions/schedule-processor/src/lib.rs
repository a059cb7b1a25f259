//! The tick: every minute, applies what is due and delivers audit events.

use flag_schedules::app::ProcessorApp;
use flag_schedules::lambda::{LambdaEvent, deadline_of};
use flag_schedules::metrics;
use flag_schedules::processor::{TickError, TickReport};
use serde_json::Value;

/// Runs one tick. The event's content is ignored: the database's clock says what is due.
///
/// # Errors
/// [`TickError`] when the tick could do nothing at all, so that Lambda counts an error and the alarm fires.
pub async fn handle(app: &ProcessorApp, event: LambdaEvent<Value>) -> Result<TickReport, TickError> {
    let deadline = deadline_of(event.context.deadline);
    let report = app.processor.tick(&event.context.request_id, deadline).await?;
    report.log(&event.context.request_id);
    // Under the deployed function's name, so that two stacks in one account have separate metrics.
    metrics::print(&metrics::line(&report, &event.context.env_config.function_name, app.now()));
    Ok(report)
}
