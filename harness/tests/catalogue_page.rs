//! Is docs/checks.md the catalogue as it is?

use std::path::Path;

use assay::conformance::kill_matrix::{Flaw, Side};
use assay::conformance::{catalogue, page};

fn flaws() -> Vec<Flaw> {
    let server = reference_server::flaws().iter().map(|f| Flaw {
        name: f.name,
        breaks: f.breaks,
        needs: f.needs,
        kills: f.kills,
        also: f.also,
        side: Side::Server,
    });
    let proxy = assay::proxy::flaws().iter().map(|f| Flaw {
        name: f.name,
        breaks: f.breaks,
        needs: &[],
        kills: f.kills,
        also: f.also,
        side: Side::Proxy,
    });
    server.chain(proxy).collect()
}

#[test]
fn the_page_in_the_repository_is_the_catalogue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    let page = page(catalogue(), &flaws());
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
