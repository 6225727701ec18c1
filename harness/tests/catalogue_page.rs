//! Is docs/checks.md the catalogue as it is?

#[path = "kit/flaws.rs"]
mod flaws;

use std::path::Path;

use assay::conformance::{catalogue, page};

#[test]
fn the_page_in_the_repository_is_the_catalogue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    let page = page(catalogue(), &flaws::all());
    if std::env::var_os("ASSAY_REGENERATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    let line = there.lines().zip(page.lines()).position(|(a, b)| a != b);
    assert!(
        there == page,
        "docs/checks.md is not what the catalogue says, from line {:?} on; \
         hint: ASSAY_REGENERATE=1 cargo test --release -p jwt-assay --all-features --test catalogue_page",
        line.map(|n| n + 1)
    );
}
