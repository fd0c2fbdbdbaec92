//! Reading the configuration again while running.
//!
//! The file is read and validated on a thread of its own; a bad one changes
//! nothing and every problem is told, in the log and to the operator who asked.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use vippy_client::{ApiError, Reloaded};
use vippy_core::config::{Config, SharedPart};
use vippy_core::input::Input;
use vippy_core::wire::auth::Keyring;

use super::{Daemon, groups_by_id};
use crate::clock;
use crate::load::{LoadError, Loaded, Source, adopt};
use crate::realtime;
use crate::secrets;

/// What reading the file came to.
type Outcome = Result<Loaded, LoadError>;

/// What happened on the way to a new configuration.
#[derive(Debug)]
pub(super) enum Step {
    Read(Box<Outcome>),
    /// The kernel side has reported what can be held here now.
    Reported,
}

/// Who asked over the management socket.
pub(super) type Reply = oneshot::Sender<Result<Reloaded, ApiError>>;

/// Readings under way and who waits for them.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Source,
    results: UnboundedSender<Outcome>,
    outcomes: UnboundedReceiver<Outcome>,
    reading: bool,
    /// Those whose wish the present reading fulfils.
    waiting: Vec<Reply>,
    /// Somebody asked after the present reading had begun: the file may have
    /// changed since, so it is read once more.
    again: bool,
    waiting_next: Vec<Reply>,
    /// Taken over; whoever asked waits for what the kernel side says to it.
    reporting: Option<Reporting>,
}

/// An answer that waits for the kernel side.
#[derive(Debug)]
struct Reporting {
    kernel: oneshot::Receiver<()>,
    /// Everything is reported; the loop may still have to read it.
    reported: bool,
    answer: Reloaded,
    replies: Vec<Reply>,
}

impl Reloader {
    pub(super) fn new(source: Source) -> Reloader {
        let (results, outcomes) = unbounded_channel();
        Reloader {
            source,
            results,
            outcomes,
            reading: false,
            waiting: Vec::new(),
            again: false,
            waiting_next: Vec::new(),
            reporting: None,
        }
    }

    /// The next step. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Step {
        let Reloader { outcomes, reporting, .. } = self;
        tokio::select! {
            // We hold a sender ourselves, so the queue never ends.
            Some(outcome) = outcomes.recv() => Step::Read(Box::new(outcome)),
            () = reported(reporting) => Step::Reported,
        }
    }

    fn ask(&mut self, reply: Option<Reply>) -> std::io::Result<()> {
        if self.reading {
            self.again = true;
            self.waiting_next.extend(reply);
            return Ok(());
        }
        self.waiting.extend(reply);
        self.begin()
    }

    fn begin(&mut self) -> std::io::Result<()> {
        let (source, results) = (self.source.clone(), self.results.clone());
        std::thread::Builder::new().name("reload".into()).spawn(move || {
            realtime::step_back();
            // Nobody listens only when the process is about to end.
            let _ = results.send(source.load());
        })?;
        self.reading = true;
        Ok(())
    }

    /// Who waited for the reading that just ended.
    fn end(&mut self) -> Vec<Reply> {
        self.reading = false;
        std::mem::take(&mut self.waiting)
    }

    fn begin_again_if_asked(&mut self) -> std::io::Result<()> {
        if !std::mem::take(&mut self.again) {
            return Ok(());
        }
        self.waiting = std::mem::take(&mut self.waiting_next);
        self.begin()
    }
}

/// Completes once the kernel side has reported; never, while nobody waits.
async fn reported(reporting: &mut Option<Reporting>) {
    match reporting {
        Some(reporting) if !reporting.reported => {
            // A worker that ended shows by the end of its reports.
            let _ = (&mut reporting.kernel).await;
        }
        Some(_) | None => std::future::pending().await,
    }
}

impl Daemon {
    pub(super) fn take_reload_step(&mut self, step: Step) {
        match step {
            Step::Read(outcome) => self.end_reload(*outcome),
            Step::Reported => {
                if let Some(reporting) = &mut self.reloader.reporting {
                    reporting.reported = true;
                }
            }
        }
    }

    /// Answers whoever asked, once the engine knows what can be held here.
    pub(super) fn answer_reload(&mut self) {
        let read = self.parts.reports.is_empty();
        let ready = |reporting: &mut Reporting| reporting.reported && read;
        if let Some(Reporting { answer, replies, .. }) = self.reloader.reporting.take_if(ready) {
            for reply in replies {
                // A client that has gone does not take its answer.
                let _ = reply.send(Ok(answer.clone()));
            }
        }
    }

    pub(super) fn begin_reload(&mut self, reply: Option<Reply>) {
        self.parts.supervision.reloading();
        if let Err(e) = self.reloader.ask(reply) {
            self.parts.logger.err(format_args!("cannot read the configuration again: {e}"));
            // Dropping the replies tells their owners that there is no answer.
            self.reloader.end();
            self.parts.supervision.ready();
        }
    }

    fn end_reload(&mut self, outcome: Outcome) {
        match outcome {
            Ok(loaded) => {
                let answer = self.reconfigure(loaded);
                let kernel = self.parts.kernel.settled();
                // Those who still wait for an earlier file get the newer answer.
                let earlier = self.reloader.reporting.take();
                let mut replies = earlier.map(|earlier| earlier.replies).unwrap_or_default();
                replies.extend(self.reloader.end());
                let reporting = Reporting { kernel, reported: false, answer, replies };
                self.reloader.reporting = Some(reporting);
            }
            Err(e) => {
                let answer = self.refuse(&e);
                for reply in self.reloader.end() {
                    let _ = reply.send(Err(answer.clone()));
                }
            }
        }
        if let Err(e) = self.reloader.begin_again_if_asked() {
            self.parts.logger.err(format_args!("cannot read the configuration again: {e}"));
            self.reloader.end();
        }
        if !self.reloader.reading {
            self.parts.supervision.ready();
        }
    }

    fn refuse(&mut self, error: &LoadError) -> ApiError {
        let logger = &self.parts.logger;
        let lines = error.lines();
        for line in &lines {
            logger.err(line);
        }
        logger.err(format_args!("{error}; the running configuration stays"));
        ApiError { problems: lines, ..ApiError::new(error.to_string()) }
    }

    fn reconfigure(&mut self, loaded: Loaded) -> Reloaded {
        let Loaded { mut config, mut warnings } = loaded;
        let ignored = adopt(&self.parts.config.local, &mut config, &self.parts.node);
        if !ignored.is_empty() {
            warnings.push(format!(
                "changed but read only at a start: {}; restart vippyd to apply them",
                ignored.join(", ")
            ));
        }
        if config.shared.node_index(&self.parts.node).is_none() {
            warnings.push(format!("{} is not among the nodes any more", self.parts.node));
        }
        warnings.extend(same_version(&self.parts.config.shared, &config.shared));
        if config.local.secrets != self.parts.config.local.secrets {
            warnings.extend(self.change_keys(&config));
        }
        self.parts.logger.reconfigure(&config.local.logging);
        self.parts.file = Arc::new(config.clone());
        let running = &self.parts.config;
        let (config, kept) = config.or_higher(running.shared.clone(), &running.document);
        if kept {
            warnings.push(older_than_running(&self.parts.file.shared, &config.shared));
        }
        for warning in &warnings {
            self.parts.logger.warning(warning);
        }
        let shared = &config.shared;
        let (version, digest) = (shared.version, shared.digest.to_string());
        self.parts
            .logger
            .notice(format_args!("configuration read version={version} digest={digest}"));
        self.use_configuration(config);
        self.tell(Input::Configured(Arc::clone(&self.parts.config)));
        Reloaded { version, digest, warnings }
    }

    /// Everything beside the engine goes on with another configuration.
    pub(super) fn use_configuration(&mut self, config: Config) {
        self.groups = groups_by_id(&config);
        self.parts.chat.reconfigure(&config);
        self.parts.prober.reconfigure(&config, &self.parts.node);
        self.parts.announcer.configure(&config.local);
        self.parts.opened.metrics.send_if_modified(|address| {
            std::mem::replace(address, config.local.metrics) != config.local.metrics
        });
        self.parts.kernel.watch(config.shared.groups.clone());
        self.parts.config = Arc::new(config);
        self.parts.collector.reconfigure(Arc::clone(&self.parts.config));
        let (engine, config) = (&self.engine, Arc::clone(&self.parts.config));
        self.parts.extensions.reconfigure(config, || engine.status(clock::now()));
    }

    /// Tells of new keys; who is not heard any more because of them.
    fn change_keys(&self, config: &Config) -> Vec<String> {
        let keys = Keyring::new(&config.local.secrets, &config.local.cluster);
        let status = self.engine.status(clock::now());
        let same = status.node.key == keys.signing().to_string();
        self.parts.logger.notice(format_args!(
            "secrets changed: signs with {}, verifies {}",
            if same { "the same one as before" } else { "another one" },
            keys.ids().len()
        ));
        secrets::unheard(&status.peers, &keys.ids())
    }
}

/// What to say when the cluster has a higher configuration than the file.
pub(crate) fn older_than_running(file: &SharedPart, running: &SharedPart) -> String {
    format!(
        "the file has version {} ({}), the cluster runs version {} ({}), which stays: raise the \
         file's version, or see `vippyctl config diff`",
        file.version, file.digest, running.version, running.digest
    )
}

/// What to say when the operator changed what all nodes share and forgot to
/// raise the version.
fn same_version(running: &SharedPart, new: &SharedPart) -> Option<String> {
    (running.version == new.version && running.digest != new.digest).then(|| {
        format!(
            "the contents changed but version is still {}; raise it, or whichever content has \
             the higher digest wins",
            new.version
        )
    })
}
