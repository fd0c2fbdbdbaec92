//! A recording, gone through again.

use std::sync::Arc;

use super::digest;
use super::dump::{Line, public_secrets};
use crate::engine::Engine;
use crate::input::Input;
use crate::output::Output;
use crate::time::Instant;

/// An engine that goes through a recording line by line.
#[derive(Default)]
pub struct Replay {
    engine: Option<Engine>,
    /// Inputs so far.
    pub inputs: u64,
    /// Outputs so far.
    pub outputs: u64,
}

/// What a line led to.
pub enum Replayed {
    /// The heading, or the first state.
    Begun,
    /// A later state, and the replay's own is the same.
    Same,
    /// An input and everything it led to, as it was recorded.
    Step {
        /// When.
        at: Instant,
        /// What it led to.
        outputs: Vec<Output>,
    },
}

/// The replay went another way.
#[derive(Debug, thiserror::Error)]
pub enum Deviation {
    /// An input led to other outputs.
    #[error(
        "input {input} at {at}: expected {} outputs with hash {:016x}, found {} with {:016x}: {outputs:?}",
        expected.0, expected.1, found.0, found.1
    )]
    Outputs {
        /// The input's number.
        input: u64,
        /// When it came.
        at: Instant,
        /// Number and hash as recorded.
        expected: (u32, u64),
        /// Number and hash as replayed.
        found: (u32, u64),
        /// What the replay led to.
        outputs: Vec<Output>,
    },
    /// The state after some inputs differs from the recorded one.
    #[error("after input {input} the state differs: expected «…{expected}…», found «…{found}…»")]
    State {
        /// The last input's number.
        input: u64,
        /// Where it differs, as recorded.
        expected: String,
        /// The same, as replayed.
        found: String,
    },
    /// The first input comes before the first state, or the format is unknown.
    #[error("found {found}, expected {expected}")]
    Unreadable {
        /// What there is.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
}

impl Replay {
    /// Nothing yet.
    pub fn new() -> Replay {
        Replay::default()
    }

    /// Goes on by one line.
    ///
    /// # Errors
    /// The first difference between what was recorded and what happens now.
    pub fn line(&mut self, line: Line) -> Result<Replayed, Deviation> {
        match line {
            Line::Recording(heading) if heading.is_readable() => Ok(Replayed::Begun),
            Line::Recording(heading) => {
                let found = format!("format {}", heading.format);
                Err(Deviation::Unreadable { found, expected: "format 1" })
            }
            Line::State { keys, engine } => self.state(*engine, &keys),
            Line::Step { at, input, times, keys, outputs, hash } => {
                self.step(at, with_keys(input, &keys), times, (outputs, hash))
            }
        }
    }

    fn state(&mut self, mut recorded: Engine, keys: &[usize]) -> Result<Replayed, Deviation> {
        recorded.revive(public_secrets(keys));
        let Some(engine) = &mut self.engine else {
            self.engine = Some(recorded);
            return Ok(Replayed::Begun);
        };
        let (expected, found) = (recorded.told_apart(), engine.told_apart());
        match difference(&expected, &found) {
            None => Ok(Replayed::Same),
            Some((expected, found)) => {
                Err(Deviation::State { input: self.inputs, expected, found })
            }
        }
    }

    fn step(
        &mut self,
        at: Instant,
        input: Input,
        times: u32,
        expected: (u32, u64),
    ) -> Result<Replayed, Deviation> {
        let Some(engine) = &mut self.engine else {
            let found = "an input".to_owned();
            return Err(Deviation::Unreadable { found, expected: "a state" });
        };
        let mut outputs = Vec::new();
        for _ in 0..times {
            engine.handle(at, input.clone());
            outputs.extend(std::iter::from_fn(|| engine.poll()));
        }
        self.inputs += u64::from(times);
        self.outputs += outputs.len() as u64;
        let (count, hash) = digest::of(outputs.iter());
        let found = (count, if count == 0 { 0 } else { hash });
        if found == expected {
            return Ok(Replayed::Step { at, outputs });
        }
        Err(Deviation::Outputs { input: self.inputs, at, expected, found, outputs })
    }
}

fn with_keys(input: Input, keys: &[usize]) -> Input {
    match input {
        Input::Configured(config) => {
            let mut config = Arc::unwrap_or_clone(config);
            config.local.secrets = public_secrets(keys);
            Input::Configured(Arc::new(config))
        }
        other @ (Input::Tick
        | Input::Datagram(_)
        | Input::Sent { .. }
        | Input::Propose { .. }
        | Input::Examined { .. }
        | Input::Boot(_)
        | Input::Resource { .. }
        | Input::EpochStored(_)
        | Input::Told { .. }
        | Input::Neighbours(_)
        | Input::Sighted { .. }
        | Input::Claimed { .. }
        | Input::Renewed { .. }
        | Input::Asked { .. }
        | Input::Answered { .. }
        | Input::Arrived
        | Input::CleanedUp(_)
        | Input::Opinion { .. }
        | Input::Checked { .. }
        | Input::Operator(_)) => other,
    }
}

/// The surroundings of the first difference.
fn difference(one: &str, other: &str) -> Option<(String, String)> {
    let at = one.bytes().zip(other.bytes()).position(|(a, b)| a != b);
    let at = at.or((one.len() != other.len()).then(|| one.len().min(other.len())))?;
    let around = |text: &str| {
        let from = text.floor_char_boundary(at.saturating_sub(80));
        let to = text.ceil_char_boundary((at + 80).min(text.len()));
        text[from..to].to_owned()
    };
    Some((around(one), around(other)))
}
