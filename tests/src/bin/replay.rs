//! Goes through a flight recording again: `vippyctl recording > FILE` on the
//! node, then `replay FILE` with a program of the same version.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vippy_core::output::Output;
use vippy_core::time::Instant;
use vippy_tests::replay::replay;

/// Replays a flight recording and compares everything it leads to.
#[derive(Parser)]
struct Arguments {
    /// What `vippyctl recording` printed.
    file: PathBuf,
    /// Print the result only, not the orders and events.
    #[arg(long, short)]
    quiet: bool,
    /// Print frames too.
    #[arg(long)]
    frames: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("replay: cannot read {}: {error}", arguments.file.display());
            return ExitCode::FAILURE;
        }
    };
    let watch = |at: Instant, outputs: &[Output]| {
        for output in outputs {
            let frame = matches!(output, Output::Send(_));
            if !arguments.quiet && (arguments.frames || !frame) {
                println!("{at}  {}", told(output));
            }
        }
    };
    match replay(text.lines(), watch) {
        Ok(summary) => {
            let (inputs, outputs) = (summary.inputs, summary.outputs);
            println!("identical: {inputs} inputs, {outputs} outputs");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("different: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn told(output: &Output) -> String {
    match output {
        Output::Send(frame) => format!("send {} bytes to {:?}", frame.frame.len(), frame.to),
        Output::Plumb { group, lifetime } => format!("plumb {} for {lifetime:?}", group.id),
        Output::Event(event) => format!("      {event:?}"),
        Output::Examine { strict, .. } => format!("examine, strict {strict}"),
        Output::Adopt(adoption) => format!("adopt {}", adoption.shared.version),
        Output::Keep(_) => "keep".to_owned(),
        Output::Neighbours { node, stations } => format!("{} neighbours of {node}", stations.len()),
        Output::Unplumb { .. }
        | Output::Renew { .. }
        | Output::Notify { .. }
        | Output::Look { .. }
        | Output::Silence { .. }
        | Output::StoreEpoch(_)
        | Output::Remember(_)
        | Output::Ask { .. }
        | Output::CleanUp { .. }
        | Output::WantBoot
        | Output::Check { .. }
        | Output::Stopped
        | Output::Restarted => format!("{output:?}"),
    }
}
