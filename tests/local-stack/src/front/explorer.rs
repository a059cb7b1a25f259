//! The API explorer: Swagger UI from `.venv`, signed in as an admin, with `docs/openapi.yaml`.

use std::path::{Path, PathBuf};

use common::error::{Doing, Error, Result};
use common::http::server::{Reply, reply};
use common::settings;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Uri};

const PAGE: &str = include_str!("explorer/page.html");
const START: &str = include_str!("explorer/start.js");
/// Replaced by the token in `start.js`.
const TOKEN: &str = "$ADMIN_TOKEN";
/// The files of Swagger UI that the page loads, with their content types.
const VIEWER: [(&str, &str); 3] = [
    ("swagger-ui.css", "text/css"),
    ("swagger-ui-bundle.js", "text/javascript"),
    ("favicon-32x32.png", "image/png"),
];
/// Nothing is loaded from other hosts. Swagger UI has inline styles, and images in its style sheet.
const ONLY_FROM_HERE: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";

#[derive(Debug)]
pub struct Explorer {
    token: String,
    viewer: PathBuf,
}

impl Explorer {
    /// Signed in with a token; fails when the viewer is not installed.
    pub fn signed_in(token: String) -> Result<Self> {
        Ok(Self { token, viewer: installed()? })
    }

    /// The response to a request for one of its files; `None` for any other request.
    pub(super) fn answer(&self, asked: &Parts) -> Option<Reply> {
        let path = asked.uri.path().strip_prefix("/docs")?;
        if asked.method != Method::GET || !is_local(asked) {
            return None;
        }
        let file = path.strip_prefix('/').unwrap_or(path);
        let found = match file {
            "" => Ok(reply(200, "text/html; charset=utf-8", PAGE)),
            "start.js" => Ok(reply(200, "text/javascript", START.replace(TOKEN, &self.token))),
            "openapi.yaml" => read("application/yaml", &settings::workspace().join("docs/openapi.yaml")),
            _ => {
                let (name, content_type) = VIEWER.iter().find(|(name, _)| *name == file)?;
                read(content_type, &self.viewer.join(name))
            }
        };
        let mut page = found.unwrap_or_else(|error| reply(500, "text/plain", error.to_string()));
        let mut set =
            |name: HeaderName, value| page.headers_mut().insert(name, HeaderValue::from_static(value));
        set(CONTENT_SECURITY_POLICY, ONLY_FROM_HERE);
        set(CACHE_CONTROL, "no-store");
        Some(page)
    }
}

fn read(content_type: &'static str, file: &Path) -> Result<Reply> {
    let content = std::fs::read(file).doing(|| format!("cannot read {}", file.display()))?;
    Ok(reply(200, content_type, content))
}

/// Against DNS rebinding: a page whose host name was pointed at this machine must not read the token.
fn is_local(asked: &Parts) -> bool {
    let host = asked.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host: Option<Uri> = host.and_then(|host| host.parse().ok());
    let names = ["127.0.0.1", "localhost", "[::1]"];
    host.and_then(|host| host.host().map(|name| names.contains(&name))).unwrap_or(false)
}

/// The folder of Swagger UI, whichever Python there is.
fn installed() -> Result<PathBuf> {
    let lib = settings::workspace().join(".venv/lib");
    let pythons = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut folders = pythons.map(|python| python.path().join("site-packages/flask_swagger_ui/dist"));
    let found = folders.find(|folder| VIEWER.iter().all(|(name, _)| folder.join(name).exists()));
    found.ok_or_else(|| Error::new(format!("Swagger UI is missing in {}: run `make setup`", lib.display())))
}
