//! Which endpoint an HTTP request is for, as API Gateway decides it.

use hyper::http::request::Parts;
use lambda_stand_in::gateway::Request;

use crate::endpoints::ENDPOINTS;

/// The function of the route that fits and the request without its body; `None` when no route fits.
///
/// Path parameters are passed as they were typed.
pub fn routed(parts: &Parts) -> Option<(&'static str, Request)> {
    let path = parts.uri.path();
    let (route, function, parameters) = ENDPOINTS.iter().find_map(|(method, route, function)| {
        let fits = parts.method.as_str() == *method;
        fits.then(|| Some((*route, *function, parameters(route, path)?))).flatten()
    })?;
    let request = Request::new(parts.method.as_str(), route).path(path).without_header("host");
    let mut request = request.query(parts.uri.query().unwrap_or_default());
    for (name, value) in parameters {
        request = request.path_parameter(name, value);
    }
    for (name, value) in &parts.headers {
        request = request.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    Some((function, request))
}

/// The values of the path parameters; `None` when the path belongs to another route.
fn parameters<'a>(route: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (wanted, given): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut parameters = Vec::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !given.is_empty() => parameters.push((name, given)),
            None if wanted == given => {}
            _ => return None,
        }
    }
    Some(parameters)
}
