//! What a request for a plan says: parameters, and a configuration as its body.

use hyper::StatusCode;
use vippy_client::ApiError;
use vippy_core::config::{self, Problem};
use vippy_core::identity::NodeName;
use vippy_core::outlook::Outlook;
use vippy_core::plan::{Change, Plan};

use super::query::NAMELESS;
use super::routes::Refusal;

/// The parameters of a plan.
#[derive(Debug, Default)]
pub(super) struct Question {
    change: Change,
    file: Option<String>,
    /// The configuration comes by `apply`.
    applied: bool,
}

impl Question {
    /// From `down=NODE`, `up=NODE`, each as often as one likes, `file=NAME` and `applied=true`.
    pub(super) fn read(query: Option<&str>) -> Result<Question, Refusal> {
        let mut question = Question::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "down" => drop(question.change.down.insert(NodeName::from(&*value))),
                "up" => drop(question.change.up.insert(NodeName::from(&*value))),
                "file" => question.file = Some(value.into_owned()),
                "applied" if value == "true" => question.applied = true,
                _ => {
                    let text = format!(
                        "/plan: found the parameter {key}={value}, expected down=NODE, up=NODE, \
                         file=NAME or applied=true"
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
    pub(super) fn configure(&mut self, text: &str) -> Result<(), Refusal> {
        let file = self.file.as_deref().unwrap_or(NAMELESS);
        let shared = config::parse_shared(text, file).map_err(|problems| {
            let text = format!("{file} is refused, problems: {}", problems.len());
            let problems = problems.iter().map(Problem::to_string).collect();
            let error = ApiError { problems, ..ApiError::new(text) };
            Refusal(StatusCode::UNPROCESSABLE_ENTITY, error)
        })?;
        self.change.config = Some(shared);
        Ok(())
    }

    /// Thinks ahead. Takes its time: not for the loop.
    pub(super) fn answer(mut self, outlook: &Outlook) -> Result<Plan, Refusal> {
        if self.applied {
            self.change.config = self.change.config.map(|config| outlook.applied(config));
        }
        let foretold = outlook.foretell(&self.change);
        foretold.map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))
    }
}
