//! Files of text that people write: accounts, addresses of a directory, templates of messages, results.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpost::blast::content::template::{Scope, Template};
use ringpost::run::Run;
use ringpost::smtp::auth::Accounts;
use ringpost::smtp::directory::Directory;

fuzz_target!(|input: &[u8]| {
    let _ = Accounts::parse(input, 7);
    if let Ok(template) = Template::parse(input, None, Scope::Message) {
        assert_eq!(template.columns().count(), 0);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(directory) = Directory::parse(text) {
        for word in text.split_whitespace() {
            let _ = directory.find(word.as_bytes());
            let _ = directory.search(word.as_bytes());
        }
    }
    if let Ok(run) = serde_json::from_str::<Run>(text) {
        let shown = run.shown();
        assert_eq!(shown.shown(), shown);
    }
});
