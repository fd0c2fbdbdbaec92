//! Faults as the kernel's packet filter: which bridge port may send to which.
//!
//! Owns the layout of the nf_tables messages. The whole set of cuts is replaced
//! in one transaction, so a partition of many pairs happens at one instant; an
//! empty set removes the table, so an unharmed LAN has no filter at all.
//!
//! The bridge family's forward hook sees every frame between two ports, ARP and
//! multicast included, and no port goes down. Bridge VLANs could do the same,
//! but not every kernel has them, and they cannot be changed at one instant.

use std::io;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;

const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_CREATE: u16 = 0x400;
const FLAG_APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const MESSAGE_ERROR: u16 = 2;

const FAMILY_UNSPECIFIED: u8 = 0;
const FAMILY_BRIDGE: u8 = 7;
const HOOK_FORWARD: u32 = 2;
const PRIORITY: u32 = 0;
const KEY_IN_INDEX: u32 = 4;
const KEY_OUT_INDEX: u32 = 5;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const COMPARE_EQUAL: u32 = 0;
const VERDICT_DROP: u32 = 0;

const TABLE: &str = "vippy-lab";
const CHAIN: &str = "cuts";

/// One transaction must fit the default send buffer of 208 KiB.
const RULES_A_BATCH: usize = 500;

/// Frames that enter the bridge at port `from` do not leave it at port `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Index of the port's link.
    pub(crate) from: u32,
    /// Index of the port's link.
    pub(crate) to: u32,
}

/// Makes `cuts` the only cuts in the network namespace of this thread.
///
/// Up to 500 take effect at one instant, more in steps of 500.
pub(crate) fn apply(cuts: &[Cut]) -> io::Result<()> {
    let kernel = Kernel::open()?;
    let (first, rest) = cuts.split_at(cuts.len().min(RULES_A_BATCH));
    let mut batch = Batch::new();
    // Deleting what is not there is an error, adding what is there is not.
    batch.table(NEW_TABLE);
    batch.table(DELETE_TABLE);
    if !first.is_empty() {
        batch.table(NEW_TABLE);
        batch.chain();
    }
    first.iter().for_each(|cut| batch.rule(*cut));
    kernel.commit(batch)?;
    for some in rest.chunks(RULES_A_BATCH) {
        let mut batch = Batch::new();
        some.iter().for_each(|cut| batch.rule(*cut));
        kernel.commit(batch)?;
    }
    Ok(())
}

/// A netlink socket to the packet filter.
struct Kernel(std::os::fd::OwnedFd);

impl Kernel {
    fn open() -> io::Result<Kernel> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
        Ok(Kernel(fd))
    }

    fn commit(&self, batch: Batch) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let (bytes, last) = batch.finish();
        send(self.0.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if read_answers(&buffer[..length], last)? {
                return Ok(());
            }
        }
    }
}

/// Whether message `last` was acknowledged; any refusal is an error.
fn read_answers(mut bytes: &[u8], last: u32) -> io::Result<bool> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed netlink answer");
    let mut done = false;
    while !bytes.is_empty() {
        let word = |at: usize| -> io::Result<u32> {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_ne_bytes).ok_or_else(malformed)
        };
        let length = usize::try_from(word(0)?).map_err(|_| malformed())?;
        let kind = word(4)?.to_ne_bytes();
        if u16::from_ne_bytes([kind[0], kind[1]]) == MESSAGE_ERROR {
            let refusal = word(16)?.cast_signed();
            if refusal != 0 {
                return Err(io::Error::from_raw_os_error(-refusal));
            }
            done |= word(8)? == last;
        }
        bytes = bytes.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(done)
}

/// A transaction in the making.
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    newest: usize,
}

impl Batch {
    fn new() -> Batch {
        let mut batch = Batch { bytes: Vec::new(), sequence: 0, newest: 0 };
        batch.message(BATCH_BEGIN, 0, FAMILY_UNSPECIFIED, |_| {});
        batch
    }

    fn table(&mut self, kind: u16) {
        let flags = if kind == NEW_TABLE { FLAG_CREATE } else { 0 };
        self.message(kind, flags, FAMILY_BRIDGE, |body| body.text(1, TABLE));
    }

    fn chain(&mut self) {
        self.message(NEW_CHAIN, FLAG_CREATE, FAMILY_BRIDGE, |body| {
            body.text(1, TABLE);
            body.text(3, CHAIN);
            body.nested(4, |hook| {
                hook.number(1, HOOK_FORWARD);
                hook.number(2, PRIORITY);
            });
            body.text(7, "filter");
        });
    }

    fn rule(&mut self, cut: Cut) {
        self.message(NEW_RULE, FLAG_CREATE | FLAG_APPEND, FAMILY_BRIDGE, |body| {
            body.text(1, TABLE);
            body.text(2, CHAIN);
            body.nested(4, |expressions| {
                expressions.load_index(KEY_IN_INDEX);
                expressions.compare_index(cut.from);
                expressions.load_index(KEY_OUT_INDEX);
                expressions.compare_index(cut.to);
                expressions.drop_frame();
            });
        });
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, fill: impl FnOnce(&mut Body)) {
        // A batch message carries its subsystem where others carry nothing.
        let subsystem = if kind == BATCH_BEGIN || kind == BATCH_END { SUBSYSTEM } else { 0 };
        let mut body = Body(vec![family, 0]);
        body.0.extend(subsystem.to_be_bytes());
        fill(&mut body);
        self.newest = self.bytes.len();
        self.sequence += 1;
        self.bytes.extend(length(16 + body.0.len(), 4));
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((FLAG_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(body.0);
    }

    /// The bytes, and the number of the message that will be acknowledged.
    fn finish(mut self) -> (Vec<u8>, u32) {
        let last = self.sequence;
        let flags = self.newest + 6;
        let asking = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | FLAG_ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&asking.to_ne_bytes());
        self.message(BATCH_END, 0, FAMILY_UNSPECIFIED, |_| {});
        (self.bytes, last)
    }
}

/// Attributes in the making.
struct Body(Vec<u8>);

impl Body {
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(length(4 + value.len(), 2));
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value);
    }

    fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Body)) {
        let mut inner = Body(Vec::new());
        fill(&mut inner);
        self.attribute(kind | NESTED, &inner.0);
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Body)) {
        self.nested(1, |element| {
            element.text(1, name);
            element.nested(2, fill);
        });
    }

    fn load_index(&mut self, key: u32) {
        self.expression("meta", |meta| {
            meta.number(1, REGISTER);
            meta.number(2, key);
        });
    }

    fn compare_index(&mut self, index: u32) {
        self.expression("cmp", |compare| {
            compare.number(1, REGISTER);
            compare.number(2, COMPARE_EQUAL);
            // Registers hold interface indexes in the host's byte order.
            compare.nested(3, |data| data.attribute(1, &index.to_ne_bytes()));
        });
    }

    fn drop_frame(&mut self) {
        self.expression("immediate", |immediate| {
            immediate.number(1, VERDICT_REGISTER);
            immediate.nested(2, |data| {
                data.nested(2, |verdict| verdict.number(1, VERDICT_DROP));
            });
        });
    }
}

/// A length field of `width` bytes in host order.
fn length(bytes: usize, width: usize) -> Vec<u8> {
    let all = bytes.to_le_bytes();
    let mut field = all[..width].to_vec();
    if cfg!(target_endian = "big") {
        field.reverse();
    }
    field
}
