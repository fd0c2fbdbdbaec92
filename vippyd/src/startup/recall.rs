//! What the last process of this node left behind, and what it means for this one.

use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::{Config, Kept, Problem, SharedPart, parse_document};
use vippy_core::identity::Epoch;
use vippy_core::memory::Memory;

use crate::daemon::older_than_running;
use crate::state_dir::{StateDir, StateError};

/// What a process begins with.
#[derive(Debug)]
pub(super) struct Recalled {
    /// The higher one of the file's configuration and the one that ran.
    pub(super) config: Config,
    /// That one was on trial: what comes back, and what is left of it.
    pub(super) trial: Option<(Arc<SharedPart>, Duration)>,
    /// The last epoch (W7).
    pub(super) epoch: Epoch,
    pub(super) memory: Memory,
    /// One line each.
    pub(super) warnings: Vec<String>,
}

/// Reads the state directory; `file` is what the configuration file says.
///
/// # Errors
/// When something is there and cannot be read.
pub(super) fn recall(state: &StateDir, file: &Config) -> Result<Recalled, StateError> {
    let (epoch, damaged_epoch) = state.load_epoch()?;
    let (memory, damaged_memory) = state.load_memory()?;
    let (kept, damaged_kept) = state.load_kept()?;
    let damaged = [damaged_epoch, damaged_memory, damaged_kept];
    let mut warnings: Vec<String> = damaged.into_iter().flatten().collect();
    let mut recalled_trial = None;
    let mut config = file.clone();
    if let Some(kept) = kept {
        let ran;
        (config, ran) = config.or_kept(&kept.document);
        match ran {
            Kept::Taken => warnings.push(older_than_running(&file.shared, &config.shared)),
            Kept::Lower => {}
            Kept::Unreadable(problems) => warnings.push(unreadable(&problems)),
        }
        // A trial is that of the configuration that runs, wherever it comes from.
        let same = *config.document == *kept.document;
        recalled_trial = kept.trial.filter(|_| same).and_then(|(former, left)| {
            Some((Arc::new(parse_document(&former, "the former configuration").ok()?), left))
        });
    }
    Ok(Recalled { config, trial: recalled_trial, epoch, memory, warnings })
}

fn unreadable(problems: &[Problem]) -> String {
    let first = problems.first().map(Problem::to_string).unwrap_or_default();
    format!("the configuration that ran here last cannot be read, the file counts: {first}")
}

#[cfg(test)]
mod tests {
    use vippy_core::config::document;
    use vippy_core::identity::NodeName;
    use vippy_core::output::Kept as Keep;

    use super::*;
    use crate::state_dir::Writer;

    fn file() -> Config {
        let text = "{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 5, \
                    nodes: ['a', 'b'], vips: [[{interface: 'lo', ip: '10.0.0.1/24'}]]}";
        vippy_core::config::parse(text, "test").unwrap().config
    }

    fn recalled(kept: Keep) -> Recalled {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path(), "", &NodeName::from("a")).unwrap();
        let (writer, _stored) = Writer::start(&state).unwrap();
        writer.keep(kept);
        writer.flush().blocking_recv().unwrap();
        recall(&state, &file()).unwrap()
    }

    #[test]
    fn a_higher_configuration_that_ran_goes_on_and_an_older_file_is_told() {
        let document = document(&file().shared.with_version(7));
        let recalled = recalled(Keep { document, trial: None });
        assert_eq!(recalled.config.shared.version, 7);
        let told = &recalled.warnings[0];
        assert!(told.contains("version 5") && told.contains("version 7"), "{told}");
    }

    #[test]
    fn a_file_that_is_higher_than_what_ran_counts() {
        let document = document(&file().shared.with_version(4));
        let recalled = recalled(Keep { document, trial: None });
        assert_eq!(recalled.config.shared.version, 5);
        assert_eq!(recalled.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_trial_goes_on_after_a_restart() {
        let [new, former] = [7, 6].map(|version| document(&file().shared.with_version(version)));
        let trial = Some((former, Duration::from_secs(30)));
        let recalled = recalled(Keep { document: new, trial });
        let (former, left) = recalled.trial.unwrap();
        assert_eq!(former.version, 6);
        assert!(left > Duration::from_secs(20), "{left:?}");
    }

    #[test]
    fn what_an_other_program_kept_is_told_and_the_file_counts() {
        let document = document(&file().shared.with_version(9));
        let document = document.replacen("{", "{\"new_key\": 1,", 1).into();
        let recalled = recalled(Keep { document, trial: None });
        assert_eq!(recalled.config.shared.version, 5);
        assert!(recalled.warnings[0].contains("new_key"), "{}", recalled.warnings[0]);
    }
}
