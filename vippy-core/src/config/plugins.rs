//! `plugins`: programs that run beside the daemon and talk with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::line::Line;
use super::reader::{Fields, Reader, quoted};
use super::shared::Nodes;
use super::text::{Node, Value};
use crate::identity::NodeName;

const MOST_PLUGINS: usize = 64;
const FORM: &str = "a plugin: the path of its file, or an object such as {\"name\": \"web\", \
                    \"run\": [\"/usr/local/bin/watch\", \"web\"]}";

/// A program that runs beside the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// What it is called in logs and verdicts; each once.
    pub name: String,
    /// What is started.
    pub start: PluginStart,
    /// Where it runs; empty: on every node.
    pub nodes: Vec<NodeName>,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<String>,
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PluginStart {
    /// A program and its arguments.
    Run(Vec<String>),
    /// A file: an executable one, or a `.js` file for node.
    File(PathBuf),
}

impl Plugin {
    /// A plugin of which nothing but the file is said.
    pub fn of_file(path: PathBuf) -> Plugin {
        Plugin::of(PluginStart::File(path))
    }

    fn of(start: PluginStart) -> Plugin {
        Plugin { name: start.default_name(), start, nodes: Vec::new(), user: None }
    }

    /// Whether it runs on this node.
    pub fn runs_on(&self, node: &NodeName) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }

    /// On one line, as documents and the canonical text have it.
    pub(super) fn line(&self) -> String {
        let name = Some(&*self.name).filter(|name| *name != self.start.default_name());
        let line = Line::new().maybe("name", name);
        let line = match &self.start {
            PluginStart::Run(run) => line.list("run", run),
            PluginStart::File(path) => line.text("file", &path.to_string_lossy()),
        };
        let nodes = self.nodes.iter().map(NodeName::as_str);
        line.list("nodes", nodes).maybe("user", self.user.as_deref()).done()
    }
}

impl PluginStart {
    /// The name of the file or program, without its directory.
    fn default_name(&self) -> String {
        let path = match self {
            PluginStart::Run(run) => Path::new(run.first().map_or("", String::as_str)),
            PluginStart::File(path) => path,
        };
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }
}

impl Reader {
    pub(super) fn plugins(&mut self, top: &Fields<'_>, nodes: &Nodes<'_>) -> Vec<Plugin> {
        let Some(list) = top.get("plugins") else { return Vec::new() };
        let Some(items) = self.list(list, "a list of plugins") else { return Vec::new() };
        if let Some(excess) = items.get(MOST_PLUGINS) {
            let found = format!("{} plugins", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_PLUGINS}"));
        }
        let mut places = BTreeMap::new();
        let mut plugins: Vec<Plugin> = Vec::new();
        for item in items {
            let Some(plugin) = self.plugin(item, nodes) else { continue };
            if let Some(&first) = places.get(&plugin.name) {
                let found = format!("the plugin {}", quoted(&plugin.name));
                self.report.error(item.start, found, "another `name` for each").first_at(first);
                continue;
            }
            places.insert(plugin.name.clone(), item.start);
            plugins.push(plugin);
        }
        plugins
    }

    fn plugin(&mut self, node: &Node<'_>, nodes: &Nodes<'_>) -> Option<Plugin> {
        if matches!(node.value, Value::String(_)) {
            return self.path(node).map(Plugin::of_file);
        }
        let fields = self.object(node, FORM, &["name", "run", "file", "nodes", "user"])?;
        let plugin = match (fields.get("file"), fields.get("run")) {
            (Some(file), None) => Plugin::of_file(self.path(file)?),
            (None, Some(run)) => Plugin::of(PluginStart::Run(self.command(run)?)),
            (Some(_), Some(run)) => return self.wrong(run, "either `file` or `run`"),
            (None, None) => return self.missing(&fields, "run", "a program, or `file`"),
        };
        let name = match fields.get("name") {
            Some(name) => self.name(name, "the plugin's name")?.to_owned(),
            None => plugin.name,
        };
        let nodes = fields.get("nodes").map(|node| self.node_names(node, nodes));
        let nodes = nodes.unwrap_or_default();
        let user = fields.get("user").and_then(|node| self.user(node));
        Some(Plugin { name, nodes, user, ..plugin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SharedPart, document, parse, parse_document};

    fn with(plugins: &str) -> Result<SharedPart, String> {
        let text = format!(
            "{{ chat: '239.77.0.1:5007', secret: '0123456789abcdef', nodes: ['a', 'b'],
               vips: [[{{ ip: '192.0.2.12/24' }}]], plugins: {plugins} }}"
        );
        let told = |problems: Vec<_>| problems.iter().map(|p| format!("{p}\n")).collect();
        parse(&text, "f").map(|parsed| parsed.config.shared).map_err(told)
    }

    #[test]
    fn a_plugin_is_a_path_a_file_or_a_program_and_travels_as_it_was() {
        let shared = with(
            "['/etc/vippy/health.js', { file: '/usr/lib/x', user: 'nobody' },
              { run: ['/usr/bin/watch', 'web'], name: 'web', nodes: ['b'] }, { run: ['sh', '-c', 'x'] }]",
        )
        .unwrap();
        let names: Vec<&str> = shared.plugins.iter().map(|plugin| &*plugin.name).collect();
        assert_eq!(names, ["health.js", "x", "web", "sh"]);
        assert_eq!(shared.plugins[0].start, PluginStart::File("/etc/vippy/health.js".into()));
        assert!(!shared.plugins[2].runs_on(&"a".into()) && shared.plugins[2].runs_on(&"b".into()));
        let back = parse_document(&document(&shared), "d").unwrap();
        assert_eq!((&back.plugins, back.digest), (&shared.plugins, shared.digest));
        assert_ne!(shared.digest, with("[]").unwrap().digest);
    }

    #[test]
    fn every_mistake_is_told() {
        for (plugins, wanted) in [
            ("['x.js']", "an absolute path"),
            ("[{ name: 'x' }]", "`file`"),
            ("[{ file: '/x', run: ['x'] }]", "either `file` or `run`"),
            ("['/a/x.js', '/b/x.js']", "another `name`"),
            ("[{ run: ['x'], nodes: ['c'] }]", "a node in `nodes`"),
            ("'/x'", "a list of plugins"),
        ] {
            let told = with(plugins).unwrap_err();
            assert!(told.contains(wanted), "{plugins}: {told}");
        }
    }
}
