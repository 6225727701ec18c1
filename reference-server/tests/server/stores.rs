//! What becomes of the server's promises when its store goes away, comes back, or is not what it should be?

use super::process::refused;

#[cfg(any(feature = "postgres", feature = "redis"))]
mod away;

#[test]
fn no_message_repeats_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.yaml");
    for (store, code) in [
        ("postgres://ann:s3cret@127.0.0.1:1/tokens", 3),
        ("postgres://ann:s3cret@127.0.0.1:port/tokens?password=s3cret", 2),
        ("postgres://ann:s3cret@127.0.0.1:1/tokens?sslmode=require", 2),
        ("redis://ann:s3cret@127.0.0.1:1/0", 3),
        ("redis://ann:s3cret@127.0.0.1:1/first", 2),
        ("rediss://ann:s3cret@127.0.0.1:1/0", 2),
        ("mysql://ann:s3cret@127.0.0.1:1/0", 2),
    ] {
        let built = match store.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres") => cfg!(feature = "postgres"),
            Some("redis") => cfg!(feature = "redis"),
            _ => true,
        };
        // What was not built in is told before anything is reached.
        let code = if built { code } else { 2 };
        std::fs::write(&config, format!("store: \"{store}\"\n")).unwrap();
        let config = config.display().to_string();
        for arguments in [["--port", "0", "--store", store], ["--port", "0", "--config", &config]] {
            let (seen, said) = refused(&arguments);
            assert_eq!(seen, code, "{store}: {said}");
            assert!(!said.contains("s3cret") && said.contains("error:"), "{store}: {said}");
            assert_eq!(said.contains("--features"), !built, "{said}");
        }
    }
}
