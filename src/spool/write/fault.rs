//! What can happen to a segment while it is in use.

/// Why a segment was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SegmentFault {
    /// A sync failed. The kernel reports that once and then says yes again.
    Unsynced,
    /// Another program cut the file, or the disk lost pages under the map.
    Torn,
    /// The name of the file is gone, or leads to another file.
    Removed,
}
