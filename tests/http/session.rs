//! Reads a `.http` file: the part of REST Client's format that ours uses, and nothing else. No library that is kept reads
//! it together with variables taken from earlier answers, and it is little.

/// A file: its variables, then its requests in order.
#[derive(Debug, Default)]
pub struct Session {
    /// Name and value, as written.
    pub variables: Vec<(String, String)>,
    /// What is sent.
    pub requests: Vec<Step>,
}

/// One request with what is expected of its answer; all of it may hold `{{variables}}`.
#[derive(Debug, Default)]
pub struct Step {
    /// What follows `###`.
    pub title: String,
    /// What later requests call it by.
    pub name: Option<String>,
    /// What follows `@expect`.
    pub expected: Vec<String>,
    /// `POST`, …
    pub method: String,
    /// All of it.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: String,
}

/// Reads the text of a file.
///
/// # Errors
/// The line that is not understood.
pub fn parse(text: &str) -> Result<Session, String> {
    let mut blocks = text.split("\n###");
    let mut session = Session::default();
    for line in blocks.next().unwrap_or_default().lines().filter(|line| !is_comment(line)) {
        let variable = line.strip_prefix('@').and_then(|rest| rest.split_once('='));
        match variable {
            Some((name, value)) => session.variables.push((name.trim().to_owned(), value.trim().to_owned())),
            None if line.trim().is_empty() => {}
            None => return Err(format!("not a variable: {line}")),
        }
    }
    session.requests = blocks.map(step).collect::<Result<_, _>>()?;
    Ok(session)
}

fn step(block: &str) -> Result<Step, String> {
    let mut step = Step::default();
    let mut lines = block.lines();
    step.title = lines.next().unwrap_or_default().trim().to_owned();
    let mut sent = Vec::new();
    for line in lines {
        match line.strip_prefix("# @").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            Some(("name", name)) => step.name = Some(name.trim().to_owned()),
            Some(("expect", expected)) => step.expected.push(expected.trim().to_owned()),
            Some((other, _)) => return Err(format!("{}: @{other} means nothing", step.title)),
            // Comments are dropped wherever they stand, as the editor does.
            None if is_comment(line) => {}
            None => sent.push(line),
        }
    }
    let mut sent = sent.into_iter().skip_while(|line| line.trim().is_empty());
    let request = sent.next().and_then(|line| line.split_once(' '));
    let (method, url) = request.ok_or_else(|| format!("{}: there is no request", step.title))?;
    (step.method, step.url) = (method.to_owned(), url.trim().to_owned());
    for line in sent.by_ref().take_while(|line| !line.trim().is_empty()) {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("{}: not a header: {line}", step.title))?;
        step.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    step.body = sent.collect::<Vec<_>>().join("\n").trim_end().to_owned();
    Ok(step)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || line.trim_start().starts_with("//")
}
