//! The page (next).
pub fn render(_: &super::Loaded) -> String {
    String::new()
}
