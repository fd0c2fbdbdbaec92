//! `logging`: driver, facility, mask.

use super::model::{Logging, LoggingDriver};
use super::reader::{Fields, Reader, quoted};
use super::suggest::nearest;
use super::text::Node;

/// The syslog severities, most urgent first (RFC 5424).
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What is written when the mask does not say otherwise: everything up to
/// `notice`. Taking and losing groups is `notice`.
const DEFAULT_MASK: [bool; 8] = [true, true, true, true, true, true, false, false];

const DEFAULT_FACILITY: &str = "daemon";

const FACILITIES: [&str; 20] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl Reader {
    pub(super) fn logging(&mut self, top: &Fields<'_>) -> Logging {
        let mut logging = Logging {
            driver: LoggingDriver::Console,
            facility: DEFAULT_FACILITY.into(),
            mask: DEFAULT_MASK,
        };
        let expected = "an object with driver, facility and mask";
        let fields = top
            .get("logging")
            .and_then(|node| self.object(node, expected, &["driver", "facility", "mask"]));
        let Some(fields) = fields else { return logging };
        if let Some(driver) = fields.get("driver").and_then(|node| self.driver(node)) {
            logging.driver = driver;
        }
        if let Some(facility) = fields.get("facility").and_then(|node| self.facility(node)) {
            logging.facility = facility.into();
        }
        if let Some(mask) = fields.get("mask") {
            self.mask(mask, &mut logging.mask);
        }
        logging
    }

    fn driver(&mut self, node: &Node<'_>) -> Option<LoggingDriver> {
        let expected = "\"console\", \"journald\", \"syslog\" or its synonym \"posix\"";
        match self.text(node, expected)? {
            "console" => Some(LoggingDriver::Console),
            "journald" => Some(LoggingDriver::Journald),
            "syslog" | "posix" => Some(LoggingDriver::Syslog),
            other => self.wrong_but(
                node,
                expected,
                nearest(other, ["console", "journald", "syslog", "posix"]).map(quoted),
            ),
        }
    }

    fn facility(&mut self, node: &Node<'_>) -> Option<&'static str> {
        let expected = format!("one of {}", FACILITIES.join(", "));
        let text = self.text(node, &expected)?;
        if let Some(known) = FACILITIES.iter().copied().find(|known| *known == text) {
            return Some(known);
        }
        let lower = text.to_ascii_lowercase();
        let plain = lower.strip_prefix("log_").unwrap_or(&lower);
        let exact = FACILITIES.iter().copied().find(|known| *known == plain);
        self.wrong_but(node, expected, exact.or_else(|| nearest(plain, FACILITIES)).map(quoted))
    }

    fn mask(&mut self, node: &Node<'_>, mask: &mut [bool; 8]) {
        let expected = "an object of levels and booleans: {\"debug\": true}";
        let Some(fields) = self.object(node, expected, &LEVELS) else { return };
        for (level, name) in LEVELS.iter().enumerate() {
            if let Some(wanted) = fields.get(name).and_then(|value| self.boolean(value)) {
                mask[level] = wanted;
            }
        }
        if mask.iter().all(|wanted| !wanted) {
            self.report.warn(node.start, "a mask that lets nothing through", "at least err: true");
        }
    }
}
