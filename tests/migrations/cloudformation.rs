//! Where CloudFormation waits for a custom resource's answer: a web server that takes one `PUT` at a secret address.

use harness::http::recorder::Recorder;
use hyper::StatusCode;

pub use harness::http::recorder::Asked as Answer;

/// What stands for the signature of a presigned address: whoever knows it can answer in the function's place.
pub const SIGNATURE: &str = "4f1c0ffee5ec2e7";

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct CloudFormation(Recorder);

impl CloudFormation {
    /// Waits for answers, and takes them.
    pub async fn start() -> Self {
        Self::replying(StatusCode::OK).await
    }

    /// Waits for answers, and replies to each with this status.
    pub async fn replying(status: StatusCode) -> Self {
        Self(Recorder::answering(status.as_u16(), "").await)
    }

    /// The address for `ResponseURL`.
    pub fn url(&self) -> String {
        self.0.url(&format!("/bucket/answer%7C1?X-Amz-Signature={SIGNATURE}"))
    }

    /// All answers so far.
    pub fn answers(&self) -> Vec<Answer> {
        self.0.asked()
    }

    /// The only answer.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        match &self.answers()[..] {
            [answer] => answer.clone(),
            answers => panic!("expected one answer, got {answers:#?}"),
        }
    }
}
