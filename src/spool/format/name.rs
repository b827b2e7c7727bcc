//! The names of segment files.

/// `c<core>-<number>.seg`; zero padded, so that a listing is in order.
pub(crate) fn file_name(core: u16, number: u32) -> String {
    format!("c{core:03}-{number:08}.seg")
}

/// The name of a segment that is being made, new or from an older one. It holds nothing, and readers
/// ignore it.
pub(crate) fn name_in_making(core: u16, number: u32) -> String {
    format!("c{core:03}-{number:08}.new")
}

/// Whether a file is a segment that is being made, or was when its sink died.
pub(crate) fn is_in_making(name: &str) -> bool {
    let stem = name.strip_suffix(".new");
    stem.is_some_and(|stem| parse_file_name(&format!("{stem}.seg")).is_some())
}

/// Core and number of a segment's file name; `None` for any other file. Each segment has one name: more
/// zeros in front than there must be are another file's.
pub(crate) fn parse_file_name(name: &str) -> Option<(u16, u32)> {
    let (core, number) = name.strip_prefix('c')?.strip_suffix(".seg")?.split_once('-')?;
    let (core, number) = (core.parse().ok()?, number.parse().ok()?);
    (file_name(core, number) == name).then_some((core, number))
}

/// Whether a name is none of a segment, and looks so much like one that somebody may take it for one.
pub(crate) fn is_almost_a_segment(name: &str) -> bool {
    let stem = name.strip_prefix('c').and_then(|rest| rest.strip_suffix(".seg"));
    let parts = stem.and_then(|stem| stem.split_once('-'));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_numbers = parts.is_some_and(|(core, number)| is_digits(core) && is_digits(number));
    is_numbers && parse_file_name(name).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!(file_name(1, 22), "c001-00000022.seg");
        assert_eq!(parse_file_name("c001-00000022.seg"), Some((1, 22)));
        assert_eq!(parse_file_name(&file_name(u16::MAX, u32::MAX)), Some((u16::MAX, u32::MAX)));
        for other in ["SPOOL", "c001-00000022", "cx01-00000022.seg", "c001-+0000022.seg", "c-.seg"]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
            assert!(!is_almost_a_segment(other), "{other}");
        }
        for twin in [
            "c0001-00000022.seg",
            "c001-000000022.seg",
            "c1-22.seg",
            "c65536-00000001.seg",
            "c001-4294967296.seg",
        ] {
            assert_eq!(parse_file_name(twin), None, "{twin}");
            assert!(is_almost_a_segment(twin), "{twin}");
        }
        assert!(!is_almost_a_segment("c001-00000022.seg"));
        assert!(is_in_making(&name_in_making(1, 22)) && !is_in_making(&file_name(1, 22)));
        assert_eq!(parse_file_name(&name_in_making(1, 22)), None);
        assert!(!is_in_making("delivered.new") && !is_in_making("c1-2.new"));
    }
}
