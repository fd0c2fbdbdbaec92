//! The thread of what operators add, as the loop drives it, with real programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vippy_core::config::Config;
use vippy_core::event::Event;
use vippyd::extend::launch::Launcher;
use vippyd::extend::{Extensions, Told};

const PATIENCE: Duration = Duration::from_secs(20);

/// A node with hooks and plugins.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) extensions: Extensions,
    pub(crate) told: Vec<Told>,
}

/// A configuration of three nodes and two groups.
pub(crate) fn config(extra: &str) -> Config {
    let text = format!(
        "{{chat: '224.1.1.1:5007', secret: 'a secret of some length', cluster: 'blue', version: 5,
          nodes: ['node1', 'node2', 'node3'], vips: [
            {{name: 'web', vips: [{{interface: 'lo', ip: '10.0.0.1/24'}},
                                  {{interface: 'lo', ip: 'fd00::1/64'}}]}},
            {{name: 'db', prefer: 'node2', vips: [{{interface: 'lo', ip: '10.0.0.2/24'}}]}}],
          {extra}}}"
    );
    vippy_core::config::parse(&text, "test").unwrap_or_else(|e| panic!("{e:?}")).config
}

impl Stage {
    /// `extra` makes the rest of the configuration; `{dir}` in it is a directory of the
    /// test's own.
    pub(crate) fn new(extra: &str) -> Stage {
        Stage::in_dir(tempfile::tempdir().unwrap(), extra)
    }

    pub(crate) fn in_dir(dir: tempfile::TempDir, extra: &str) -> Stage {
        let config = config(&extra.replace("{dir}", dir.path().to_str().unwrap()));
        let launcher = Launcher::by(env!("CARGO_BIN_EXE_vippyd"));
        let extensions = Extensions::start(Arc::new(config), "node1".into(), launcher).unwrap();
        Stage { dir, extensions, told: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is in a file by now.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn happened(&self, event: &Event) {
        self.extensions.happened(event);
    }

    /// Collects what is told, until something fits.
    pub(crate) fn await_told<T>(&mut self, what: &str, fits: impl Fn(&Told) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut looked = 0;
        loop {
            while let Some(told) = self.extensions.told_at_hand() {
                self.told.push(told);
            }
            if let Some(found) = self.told[looked..].iter().find_map(&fits) {
                return found;
            }
            looked = self.told.len();
            assert!(begun.elapsed() < PATIENCE, "no {what} in {:#?}", self.told);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a file says what is expected.
    pub(crate) fn await_file(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            while let Some(told) = self.extensions.told_at_hand() {
                self.told.push(told);
            }
            let text = self.read(name);
            if fits(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{name}: {text:?}; told: {:#?}", self.told);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn await_line(&mut self, part: &str) -> String {
        self.await_told(part, |told| match told {
            Told::Line(_, line) if line.contains(part) => Some(line.clone()),
            _ => None,
        })
    }

    /// Lets everything come to its end.
    pub(crate) fn finish(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let finish = async { tokio::time::timeout(PATIENCE, self.extensions.finish()).await };
        runtime.block_on(finish).unwrap();
    }
}

/// A file that can be executed.
pub(crate) fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}
