//! Verified takeover: a take counts when the neighbours believe it.
//!
//! Whoever takes a group tells the neighbours and then asks two nodes where the
//! group is for them. They put the question to the LAN, as any host would, and
//! announce which station answered. Where that is another one, or none, the
//! neighbours are told again. [`takes`] is the holder's side, [`lookout`] that of
//! the nodes that look.
//!
//! Nothing else is decided from it: a group that is not believed is held as well
//! as any other.

pub(crate) mod lookout;
pub(crate) mod takes;
