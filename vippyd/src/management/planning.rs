//! What a request for a plan says: parameters, and a configuration as its body.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use vippy_client::ApiError;
use vippy_core::config::{self, Parsed, Problem};
use vippy_core::identity::NodeName;
use vippy_core::outlook::Outlook;
use vippy_core::plan::{Change, Plan};
use zeroize::Zeroizing;

use super::routes::Refusal;

/// Longest configuration, in bytes, as of a file.
pub(super) const LIMIT: usize = 16 << 20;

/// What stands for the name of a file that has none.
const NAMELESS: &str = "configuration";

/// The parameters of a plan.
#[derive(Debug, Default)]
pub(super) struct Question {
    change: Change,
    file: Option<String>,
}

impl Question {
    /// From `down=NODE`, `up=NODE`, each as often as one likes, and `file=NAME`.
    pub(super) fn read(query: Option<&str>) -> Result<Question, Refusal> {
        let mut question = Question::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "down" => drop(question.change.down.insert(NodeName::from(&*value))),
                "up" => drop(question.change.up.insert(NodeName::from(&*value))),
                "file" => question.file = Some(value.into_owned()),
                _ => {
                    let text = format!(
                        "/plan: found the parameter {key:?}, expected down=NODE, up=NODE or file=NAME"
                    );
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
                }
            }
        }
        Ok(question)
    }

    /// Nothing happens.
    pub(super) fn is_empty(&self) -> bool {
        self.change.down.is_empty() && self.change.up.is_empty()
    }

    /// Reads and validates the configuration. Takes its time: not for the loop.
    /// Returns what is risky in it.
    pub(super) fn configure(&mut self, text: &[u8]) -> Result<Vec<String>, Refusal> {
        let file = self.file.as_deref().unwrap_or(NAMELESS);
        let refuse = |text: String, problems: Vec<String>| {
            let error = ApiError { problems, ..ApiError::new(text) };
            Refusal(StatusCode::UNPROCESSABLE_ENTITY, error)
        };
        let text = std::str::from_utf8(text).map_err(|error| {
            let place = error.valid_up_to();
            refuse(format!("{file} is refused: byte {place} is not UTF-8"), Vec::new())
        })?;
        let lines = |problems: &[Problem]| problems.iter().map(Problem::to_string).collect();
        let Parsed { config, warnings } = config::parse(text, file).map_err(|problems| {
            let text = format!("{file} is refused, problems: {}", problems.len());
            refuse(text, lines(&problems))
        })?;
        self.change.config = Some(config.shared);
        Ok(lines(&warnings))
    }

    /// Thinks ahead. Takes its time: not for the loop.
    pub(super) fn answer(&self, outlook: &Outlook, warnings: Vec<String>) -> Result<Plan, Refusal> {
        let plan = outlook
            .foretell(&self.change)
            .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
        Ok(Plan { warnings: warnings.into_iter().chain(plan.warnings).collect(), ..plan })
    }
}

/// The body of a request, wiped when dropped: a secret is in it.
pub(super) async fn read(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let too_long = || {
        let text = format!("a configuration of more bytes, expected at most {LIMIT}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let announced = body.size_hint();
    if announced.lower() > LIMIT as u64 {
        return Err(too_long());
    }
    // In one piece, so that growing leaves no copy behind.
    let room = announced.upper().and_then(|most| usize::try_from(most).ok());
    let mut text = Zeroizing::new(Vec::with_capacity(room.unwrap_or(LIMIT).min(LIMIT)));
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let Some(piece) = frame.data_ref() else { continue };
        if text.len() + piece.len() > LIMIT {
            return Err(too_long());
        }
        text.extend_from_slice(piece);
    }
    Ok(text)
}
