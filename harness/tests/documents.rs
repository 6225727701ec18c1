//! Is what the documentation says true? Its examples are read by the code that users' files are read by.

#[path = "kit/examples.rs"]
mod kit;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use assay::scenario::schema_of;
use assay::target::{self, Profile};
use kit::{as_profile, examples, keys_shown, leaves_nothing_out, page, root};

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
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    for hook in target::hooks() {
        assert!(text.contains(&format!("`{hook}`")), "docs/profiles.md does not name the hook `{hook}`");
    }
    for profile in target::builtins() {
        assert!(text.contains(&format!("`{}`", profile.name)), "docs/profiles.md does not name `{}`", profile.name);
        assert!(readme.contains(&format!("`{}`", profile.name)), "the README does not name `{}`", profile.name);
    }
}

/// One of the reference server's published keys.
fn key(name: &str) -> String {
    std::fs::read_to_string(root().join("reference-server/keys").join(name)).expect("a key")
}

/// `assay serve` with a configuration file in a folder: its first line, and where there is none what it said.
fn serve(folder: &Path, configuration: &str) -> Result<String, String> {
    std::fs::write(folder.join("server.yaml"), configuration).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["serve", "--port", "0", "--config", "server.yaml"])
        .current_dir(folder)
        .env("ALICE_PASSWORD", "correct-horse-9")
        .env("RETIRED_KEY", key("es384-development-only.pub.pem"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("our own program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its first line");
    // It may have ended by itself; then there is nothing to end.
    let _ = child.kill();
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    child.wait().expect("its end");
    if line.is_empty() { Err(said) } else { Ok(line) }
}

#[test]
fn every_configuration_of_the_reference_server_on_its_page_starts_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    for (name, text) in [
        ("signing.pem", key("es256-development-only.pem")),
        ("encryption.pem", key("ecdh-es-development-only.pem")),
        ("certificate.pem", tls.cert.pem()),
        ("key.pem", tls.signing_key.serialize_pem()),
        ("shop.secret", "a-secret-of-the-shop\n".to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let page = page("reference-server.md");
    let shown: Vec<_> = examples(&page).into_iter().filter(|example| example.mark == "config").collect();
    assert!(shown.len() > 1, "only {} configurations were found", shown.len());
    for example in shown {
        let line = serve(folder.path(), &example.text)
            .unwrap_or_else(|said| panic!("docs/reference-server.md:{}: {said}", example.line));
        let scheme = if example.text.contains("\ntls:") || example.text.starts_with("tls:") { "https" } else { "http" };
        assert!(line.starts_with(&format!("listening on {scheme}://127.0.0.1:")), "{line}");
    }
}

#[test]
fn every_key_of_the_reference_server_s_configuration_is_shown_and_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let (text, shown) = (page("reference-server.md"), keys_shown("reference-server.md"));
    let mut seen = 0;
    for mistake in [
        "not-a-key: 1",
        "keys: [{not-a-key: 1}]",
        "encryption: {not-a-key: 1}",
        "users: [{not-a-key: 1}]",
        "clients: [{not-a-key: 1}]",
        "tls: {not-a-key: 1}",
    ] {
        // What is refused is refused with the list of what there is.
        let said = serve(folder.path(), mistake).expect_err("an unknown key is a mistake");
        let list = said.split_once("expected one of ").and_then(|(_, rest)| rest.split_once(" at line"));
        let Some((list, _)) = list else { panic!("{mistake}: {said}") };
        for key in list.split(", ").map(|key| key.trim_matches('`')) {
            assert!(shown.contains(key), "docs/reference-server.md has no example for `{key}`");
            assert!(text.contains(&format!("`{key}`")), "docs/reference-server.md does not say what `{key}` is");
            seen += 1;
        }
    }
    assert!(seen > 35, "only {seen} keys were found");
}

#[test]
fn the_endpoints_and_hooks_of_the_reference_server_are_on_its_page_as_in_its_code() {
    let code = std::fs::read_to_string(root().join("reference-server/src/lib.rs")).expect("the library");
    let text = page("reference-server.md");
    let rows: Vec<&str> =
        code.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|l| l.starts_with('|')).collect();
    assert!(rows.len() > 25, "only {} rows were found", rows.len());
    for row in rows {
        assert!(text.lines().any(|line| line == row), "docs/reference-server.md lacks: {row}");
    }
}
