//! Which program a plugin is.

use std::path::Path;

use vippy_core::config::{Plugin, PluginStart};

use super::super::launch::PATH;

/// What node runs before a plugin's file: it gives that the globals of the original.
const SHIM: &str = include_str!("shim.js");
/// The variable in which node finds it, so that a list of processes stays readable.
const SHIM_VARIABLE: &str = "VIPPY_SHIM";
const RUN_SHIM: &str = "eval(process.env.VIPPY_SHIM)";

/// A program to be started.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) words: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
}

impl Program {
    /// # Errors
    /// What is lacking for it, and what to do about that.
    pub(super) fn of(plugin: &Plugin) -> Result<Program, String> {
        let path = match &plugin.start {
            PluginStart::Run(words) => {
                return Ok(Program { words: words.clone(), variables: Vec::new() });
            }
            PluginStart::File(path) => path,
        };
        let file = path.to_string_lossy().into_owned();
        if path.extension().is_none_or(|ending| ending != "js") {
            return Ok(Program { words: vec![file], variables: Vec::new() });
        }
        if !is_there("node") {
            return Err(format!(
                "{file} needs node, which is not in {PATH}: install Node.js (on Debian `apt \
                 install nodejs`)"
            ));
        }
        let words = ["node", "-e", RUN_SHIM, "--", &file].map(str::to_owned).into();
        Ok(Program { words, variables: vec![(SHIM_VARIABLE.into(), SHIM.into())] })
    }
}

/// Whether a command is found without a path.
fn is_there(command: &str) -> bool {
    PATH.split(':').any(|directory| Path::new(directory).join(command).exists())
}
