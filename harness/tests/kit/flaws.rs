//! Which faults can the reference server and the embedded proxy be started with?

use assay::conformance::kill_matrix::{Flaw, Side};

/// Every flaw, of the server and of the proxy.
pub fn all() -> Vec<Flaw> {
    let server = reference_server::flaws().iter().map(|f| Flaw {
        name: f.name,
        breaks: f.breaks,
        needs: f.needs,
        kills: f.kills,
        also: f.also,
        side: Side::Server,
    });
    server.chain(Flaw::of_proxy()).collect()
}
