//! Does a real browser read the page? Headless Chromium, where it is installed.

use std::path::Path;
use std::process::Command;

use super::{rendered, sample};

/// Chromium that neither phones home nor needs a sandbox of its own.
fn chromium(profile: &Path, arguments: &[&str], page: &Path) -> Option<std::process::Output> {
    let binary = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|b| std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|d| d.join(b).is_file()))?;
    let fixed = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let mut command = Command::new(binary);
    command.args(fixed).arg(format!("--user-data-dir={}", profile.display())).args(arguments);
    Some(command.arg(format!("file://{}", page.display())).output().unwrap())
}

/// For looking at pages by eye: `ASSAY_SAMPLE_PAGES=/some/folder` keeps them.
fn keep(page: &Path, name: &str) {
    if let Some(folder) = std::env::var_os("ASSAY_SAMPLE_PAGES") {
        std::fs::copy(page, Path::new(&folder).join(name)).unwrap();
    }
}

#[test]
fn a_page_of_six_deployments_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("wide.html");
    std::fs::write(&page, rendered(&sample::wide(), "html")).unwrap();
    keep(&page, "wide.html");
}

#[test]
fn a_browser_builds_the_page_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    std::fs::write(&page, rendered(&sample::run(), "html")).unwrap();
    keep(&page, "page.html");
    let profile = folder.path().join("profile");
    let Some(output) = chromium(&profile, &["--dump-dom", "--enable-logging=stderr"], &page) else {
        // The test runner shows what is written here when the test fails or with --no-capture.
        std::io::Write::write_all(
            &mut std::io::stderr(),
            b"not run: chromium is not installed (apt-get install chromium)\n",
        )
        .unwrap();
        return;
    };
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(dom.contains("id=\"f-refresh-old-rejected\""), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dom.matches("<svg").count() > 10 && dom.contains("</html>"));
    let complaints: Vec<_> =
        String::from_utf8_lossy(&output.stderr).lines().filter(|l| l.contains("CONSOLE")).map(str::to_owned).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
