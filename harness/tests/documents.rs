//! Is what the documentation says true? Its examples are read by the code that users' files are read by.

#[path = "kit/examples.rs"]
mod kit;

use assay::scenario::schema_of;
use assay::target::{self, Profile};
use kit::{as_profile, examples, leaves_nothing_out, page};

#[test]
fn every_example_of_the_page_on_profiles_is_a_valid_profile() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for example in examples(&page("profiles.md")).iter().filter(|example| example.language == "yaml") {
        let file = as_profile(example, folder.path());
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let found = target::examine_named(&name, folder.path());
        assert!(found.0.is_empty(), "docs/profiles.md:{}:\n{}", example.line, found.render(false));
        target::load(&name, None, folder.path()).unwrap_or_else(|e| panic!("docs/profiles.md:{}: {e}", example.line));
        seen += 1;
    }
    assert!(seen > 25, "only {seen} examples were found");
}

#[test]
fn every_key_of_a_profile_has_an_example_and_every_word_is_explained() {
    leaves_nothing_out("profiles.md", &schema_of::<Profile>("profile"), 60);
}

#[test]
fn every_hook_and_every_built_in_profile_is_named() {
    let text = page("profiles.md");
    for hook in target::hooks() {
        assert!(text.contains(&format!("`{hook}`")), "docs/profiles.md does not name the hook `{hook}`");
    }
    for profile in target::builtins() {
        assert!(text.contains(&format!("`{}`", profile.name)), "docs/profiles.md does not name `{}`", profile.name);
    }
}
