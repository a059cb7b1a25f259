//! The tick: every minute, applies what is due and delivers audit events.

use flag_schedules::app::ProcessorApp;
use flag_schedules::lambda::{LambdaEvent, deadline_of};
use flag_schedules::metrics;
use flag_schedules::processor::{TickError, TickReport, trigger_delay_ms};
use serde_json::Value;

/// Runs one tick. The database's clock says what is due; the event only says when it was meant to begin.
///
/// # Errors
/// [`TickError`] when the tick could do nothing at all, so that Lambda counts an error and the alarm fires.
pub async fn handle(app: &ProcessorApp, event: LambdaEvent<Value>) -> Result<TickReport, TickError> {
    let deadline = deadline_of(event.context.deadline);
    let trigger_delay_ms = trigger_delay_ms(event.payload["time"].as_str(), app.now());
    let mut report = app.processor.tick(&event.context.request_id, deadline).await?;
    report.trigger_delay_ms = trigger_delay_ms;
    report.log(&event.context.request_id);
    // Under the deployed function's name, so that two stacks in one account have separate metrics.
    metrics::print(&metrics::line(&report, &event.context.env_config.function_name, app.now()));
    Ok(report)
}
