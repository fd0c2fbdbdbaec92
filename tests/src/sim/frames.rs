//! Frames in words, for the story of a failure.

use vippy_core::config::Secret;
use vippy_core::wire::announcement::{Announcement, GroupSet, Heard, Section};
use vippy_core::wire::auth::Keyring;
use vippy_core::wire::belief::Sighting;
use vippy_core::wire::frame::{Body, open};
use zeroize::Zeroizing;

use super::cluster::SECRET;

/// A frame of a simulated cluster in one line, or why it is none.
pub fn describe(bytes: &[u8]) -> String {
    let secrets = [Secret(Zeroizing::new(SECRET.to_vec()))];
    match open(bytes, &Keyring::new(&secrets, "")) {
        Err(reason) => format!("{} bytes, {reason:?}", bytes.len()),
        Ok(frame) => {
            let header = &frame.header;
            let relayed = if frame.relayed { " relayed" } else { "" };
            let from =
                format!("{} {:.4} seq {}", header.name, header.boot.to_string(), header.seq.0);
            format!("{from}{relayed} epoch {} {}", header.epoch, body(&frame.body))
        }
    }
}

fn body(body: &Body) -> String {
    match body {
        Body::Announcement(announcement) => announced(announcement),
        Body::DocumentRequest(request) => format!("{request:?}"),
        Body::DocumentChunk(_) => "a chunk of a document".to_owned(),
    }
}

fn announced(announcement: &Announcement) -> String {
    let Announcement { state, reason, version, sections, .. } = announcement;
    let sections: Vec<String> = sections.iter().map(section).collect();
    format!("{state:?} {reason:?} v{version} {}", sections.join(" "))
}

fn section(section: &Section) -> String {
    match section {
        Section::Heard { entries, .. } => {
            let entries: Vec<String> = entries.iter().map(heard).collect();
            format!("heard[{}]", entries.join(" "))
        }
        Section::Holding { held, told: true, .. } => format!("holds{}", positions(held)),
        Section::Holding { held, .. } => format!("tells{}", positions(held)),
        Section::Refusing { cannot, rather_not, .. } => {
            let refusing = |word: &str, groups: &GroupSet| match *groups == GroupSet::default() {
                true => String::new(),
                false => format!("{word}{}", positions(groups)),
            };
            refusing("cannot", cannot) + &refusing("rather-not", rather_not)
        }
        Section::Documents(documents) => format!("{} documents", documents.len()),
        Section::Verdicts(verdicts) => format!("{} verdicts", verdicts.len()),
        Section::Trial(_) => "on trial".to_owned(),
        Section::Moves(moves) => format!("{} moves", moves.len()),
        Section::CleanUps(said) => format!("{} clean-ups", said.len()),
        Section::Look(look) => format!("look#{}{}", look.number, positions(&look.groups)),
        Section::Sighting(Sighting { number, mac, groups, .. }) => {
            let who = mac.map_or("nobody".to_owned(), |mac| mac.to_string());
            format!("saw#{number}{} at {who}", positions(groups))
        }
    }
}

fn positions(groups: &GroupSet) -> String {
    let text = format!("{groups:?}");
    text.trim_start_matches("GroupSet(").trim_end_matches(')').to_owned()
}

fn heard(heard: &Heard) -> String {
    let paths = heard.paths;
    let marks = [(paths.multicast, 'm'), (paths.unicast, 'u'), (paths.relayed, 'r')];
    let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
    let counts = if heard.counts { "" } else { "!" };
    format!("{counts}{:.4}:{}{marks}", heard.boot.to_string(), heard.seq.0)
}
