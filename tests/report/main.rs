//! What a run leaves behind, and what is made of it: files, text, pages, sums and comparisons.

mod artefacts;
mod browser;
mod compare;
mod interop_hdr;
mod merge;
mod support;
