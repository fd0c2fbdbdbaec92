//! Configurations of others, and for others: what the engine wants looked at,
//! adopted and kept, and what operators propose.
//!
//! Documents are read and checked on threads of their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use vippy_client::{ApiError, Applying, ConfigFile, Configurations, Reloaded, SharedText};
use vippy_core::config::{
    Config, Digest, Problem, SharedPart, document, parse_document, parse_shared,
};
use vippy_core::input::{Command, Input};
use vippy_core::output::Adoption;
use vippy_core::status::FileStatus;

use super::Daemon;
use crate::{examine, realtime};

/// Who asked for a configuration to be applied.
pub(super) type Reply = oneshot::Sender<Result<Applying, ApiError>>;

/// Something that a thread found out.
#[derive(Debug)]
pub(super) enum Step {
    /// The engine's document was looked at.
    Examined { document: Digest, outcome: Result<Arc<SharedPart>, String> },
    /// An operator's file was looked at.
    Checked { outcome: Result<Proposed, ApiError>, reply: Reply },
}

/// A file that this node can run.
#[derive(Debug)]
pub(super) struct Proposed {
    shared: Arc<SharedPart>,
    document: Arc<str>,
    confirm_within: Option<Duration>,
}

/// What threads found out.
#[derive(Debug)]
pub(super) struct Examiner {
    results: UnboundedSender<Step>,
    steps: UnboundedReceiver<Step>,
}

impl Examiner {
    pub(super) fn new() -> Examiner {
        let (results, steps) = unbounded_channel();
        Examiner { results, steps }
    }

    /// The next step. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Step {
        match self.steps.recv().await {
            Some(step) => step,
            // We hold a sender ourselves, so the queue never ends.
            None => std::future::pending().await,
        }
    }

    /// Does something that may block, on a thread of its own.
    fn aside(&self, work: impl FnOnce() -> Step + Send + 'static) -> std::io::Result<()> {
        let results = self.results.clone();
        std::thread::Builder::new().name("examine".into()).spawn(move || {
            realtime::step_back();
            // Nobody listens only when the process is about to end.
            let _ = results.send(work());
        })?;
        Ok(())
    }
}

impl Daemon {
    pub(super) fn examine(&mut self, text: Arc<str>, document: Digest, strict: bool) {
        let file = Arc::clone(&self.parts.file);
        let work = move || {
            let outcome = examine::document(&text, &file, strict);
            Step::Examined { document, outcome }
        };
        if let Err(e) = self.examiner.aside(work) {
            let outcome = Err(format!("cannot start a thread: {e}"));
            self.answers.push_back(Input::Examined { document, outcome });
        }
    }

    /// The engine's order to run another configuration.
    pub(super) fn adopt(&mut self, adoption: Adoption) {
        let Adoption { shared, document } = adoption;
        let config = self.parts.file.with_shared(Arc::unwrap_or_clone(shared), document);
        self.use_configuration(config);
        self.answers.push_back(Input::Configured(Arc::clone(&self.parts.config)));
    }

    pub(super) fn take_rollout_step(&mut self, step: Step) {
        match step {
            Step::Examined { document, outcome } => {
                self.tell(Input::Examined { document, outcome });
            }
            Step::Checked { outcome, reply } => {
                let answer = outcome.and_then(|proposed| self.propose(proposed));
                // A client that has gone does not take its answer.
                let _ = reply.send(answer);
            }
        }
    }

    /// Checks an operator's file; the answer comes when it is proposed or refused.
    pub(super) fn begin_apply(
        &mut self,
        file: ConfigFile,
        confirm_within: Option<Duration>,
        reply: Reply,
    ) {
        let (own, version) = (Arc::clone(&self.parts.file), self.engine.next_version());
        let running = self.parts.config.shared.rank();
        let work = move || {
            let checked = check(&file, &own, version, running);
            let outcome = checked.map(|(shared, document)| Proposed {
                shared: Arc::new(shared),
                document,
                confirm_within,
            });
            Step::Checked { outcome, reply }
        };
        if let Err(e) = self.examiner.aside(work) {
            // Dropping the reply tells its owner that there is no answer.
            self.parts.logger.err(format_args!("cannot check a configuration: {e}"));
        }
    }

    fn propose(&mut self, proposed: Proposed) -> Result<Applying, ApiError> {
        let Proposed { shared, document, confirm_within } = proposed;
        if let Some(node) = self.engine.proposer() {
            let text = format!("{node} is proposing a configuration just now; try again");
            return Err(ApiError::new(text));
        }
        let answer = Applying { version: shared.version, digest: shared.digest.to_string() };
        let (version, digest) = (answer.version, &answer.digest);
        self.parts.logger.notice(format_args!("operator: apply version={version} digest={digest}"));
        self.tell(Input::Propose { shared, document, confirm_within });
        Ok(answer)
    }

    /// An operator gives up what runs for what the file says.
    pub(super) fn forget(&mut self) -> Reloaded {
        self.tell(Input::Operator(Command::Forget));
        let file = Config::clone(&self.parts.file);
        self.use_configuration(file);
        self.tell(Input::Configured(Arc::clone(&self.parts.config)));
        let shared = &self.parts.config.shared;
        let (version, digest) = (shared.version, shared.digest.to_string());
        Reloaded { version, digest, warnings: Vec::new() }
    }

    /// What runs, and what the file says.
    pub(super) fn configurations(&self) -> Configurations {
        let text = |config: &Config| SharedText {
            version: config.shared.version,
            digest: config.shared.digest.to_string(),
            text: config.document.to_string(),
        };
        Configurations {
            running: text(&self.parts.config),
            file: text(&self.parts.file),
            path: self.parts.source.path.clone(),
        }
    }

    /// What the status tells of the file.
    pub(super) fn file_status(&self) -> FileStatus {
        let shared = &self.parts.file.shared;
        FileStatus {
            path: self.parts.source.path.clone(),
            version: shared.version,
            digest: shared.digest.to_string(),
            runs: shared.rank() == self.parts.config.shared.rank(),
        }
    }
}

/// What a file says, under a version above all others, if this node can run it.
fn check(
    file: &ConfigFile,
    own: &Config,
    next_version: u64,
    running: (u64, Digest),
) -> Result<(SharedPart, Arc<str>), ApiError> {
    let refuse = |problems: Vec<String>| ApiError {
        problems,
        ..ApiError::new("this configuration is refused; nothing changed")
    };
    let shared = parse_shared(&file.text, &file.name)
        .map_err(|problems| refuse(problems.iter().map(Problem::to_string).collect()))?;
    let Some(shared) = shared.following(running, next_version) else {
        return Err(ApiError::new("this is what runs already; nothing changed"));
    };
    let document = document(&shared);
    // A version above all others may be above all that there are.
    parse_document(&document, &file.name)
        .map_err(|problems| refuse(problems.iter().map(Problem::to_string).collect()))?;
    let config = own.with_shared(shared.clone(), Arc::clone(&document));
    let mut problems: Vec<String> = config.conflict().into_iter().collect();
    problems.extend(examine::lacking(&config));
    if problems.is_empty() { Ok((shared, document)) } else { Err(refuse(problems)) }
}
