//! What the functions' `main` return.

use std::process::ExitCode;

use lambda_runtime::Error;
use serde_json::json;

use crate::adapters::https::Https;
use crate::config::{SettingError, environment};
use crate::error::chain;
use crate::logging::LogSettings;

/// Runs a function until it ends. If it cannot start or go on, that is one line in the log. Whoever invokes a function
/// that did not start because of a setting gets the same line from Lambda, and not only an exit status.
pub async fn main(serving: impl Future<Output = Result<(), Error>>) -> ExitCode {
    let Err(error) = serving.await else { return ExitCode::SUCCESS };
    let cause = chain(error.as_ref());
    if LogSettings::read(&environment).json {
        tracing::error!(cause, "the function cannot go on");
    } else {
        print(&cause);
    }
    if error.is::<SettingError>() {
        tell_lambda(&cause).await;
    }
    ExitCode::FAILURE
}

#[expect(clippy::print_stderr, reason = "the last words of a program that a person runs")]
fn print(cause: &str) {
    eprintln!("Error: {cause}");
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror>
async fn tell_lambda(cause: &str) {
    let Some(api) = environment("AWS_LAMBDA_RUNTIME_API") else { return };
    let url = format!("http://{api}/2018-06-01/runtime/init/error");
    let error = json!({"errorType": "Function.InvalidSetting", "errorMessage": cause, "stackTrace": []});
    // If Lambda does not take it, there is still the line in the log.
    let _ = Https.send("POST", &url, error.to_string().into_bytes()).await;
}
