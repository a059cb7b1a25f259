//! From an API Gateway event to a response.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

use super::deadline::deadline_of;
use crate::http::problem::Problem;
use crate::http::request::{Request, gateway_request_id};
use crate::http::views::Reply;

/// Limit for a handler; the function's timeout must be higher.
const HANDLER_LIMIT: Duration = Duration::from_secs(8);
/// Reserved at the end of an invocation for the response of a handler that ran into its limit.
const RESPONSE_RESERVE: Duration = Duration::from_millis(500);

/// Handles an event: never fails, never panics, never exceeds the invocation's deadline.
///
/// # Errors
/// None: the runtime requires a `Result`.
pub async fn respond<A, H>(
    app: &A,
    handler: &H,
    event: LambdaEvent<Value>,
) -> Result<ApiGatewayV2httpResponse, Infallible>
where
    H: AsyncFn(&A, &Request) -> Result<Reply, Problem>,
{
    let LambdaEvent { payload, context } = event;
    let end = (Instant::now() + HANDLER_LIMIT).min(deadline_of(context.deadline) - RESPONSE_RESERVE);
    let request_id = gateway_request_id(&payload).unwrap_or(&context.request_id).to_owned();
    let request = Request::read(payload, &request_id);
    let handling = async |request| {
        let handled = AssertUnwindSafe(handler(app, request)).catch_unwind();
        match tokio::time::timeout_at(end.into(), handled).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Problem::Bug("the handler panicked".to_owned())),
            Err(_elapsed) => Err(Problem::TooSlow),
        }
    };
    let (handled, request) = match request {
        Ok(request) => (handling(&request).await, Some(request)),
        Err(problem) => (Err(problem), None),
    };
    Ok(match handled {
        Ok(reply) => response(reply.status, "application/json", reply.headers, reply.body),
        Err(problem) => {
            log(&problem, &request_id, request.as_ref());
            let (status, headers) = (problem.status(), problem.headers());
            // Nothing in a problem can fail to serialize.
            let body = serde_json::to_string(&problem.view(&request_id)).unwrap_or_default();
            response(status, "application/problem+json", headers, body)
        }
    })
}

/// One line for each request that failed or was refused: who sent it, for which flag, and why.
fn log(problem: &Problem, request_id: &str, request: Option<&Request>) {
    let (status, code, cause) = (problem.status(), problem.code(), problem.cause());
    let flag = request.and_then(Request::flag);
    let environment = flag.as_ref().map(|flag| flag.environment.as_str());
    let flag = flag.as_ref().map(|flag| flag.key.as_str());
    let source_ip = request.and_then(|request| request.call.source_ip.as_deref());
    let user_id = request.and_then(|request| request.user_id.get()).map(String::as_str);
    let status = status.as_u16();
    // A macro, because the level of a line is constant.
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(request_id, status, code, cause, user_id, flag, environment, source_ip, $message)
        };
    }
    if status >= 500 {
        line!(error, "the request failed");
    } else {
        line!(info, "the request was refused");
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = status.as_u16().into();
    response.headers.insert("content-type", HeaderValue::from_static(content_type));
    // A response is for one moment and one caller.
    response.headers.insert("cache-control", HeaderValue::from_static("no-store"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers.insert(HeaderName::from_static(name), value);
        }
    }
    response.body = Some(Body::Text(body));
    response
}
