//! Does the script that measures the load engine beside its peers still work? Its smoke mode needs no peers.

#[path = "kit/examples.rs"]
mod examples;
#[path = "kit/servers.rs"]
mod servers;

use std::path::Path;
use std::process::Command;

use servers::{ASSAY, pass_over, said};

#[test]
fn everything_that_the_bench_of_the_load_engine_writes_is_taken_by_the_program() {
    let folder = Path::new(ASSAY).parent().expect("a folder");
    let script = examples::root().join("scripts/bench-load");
    let output = match Command::new("python3").arg(&script).args(["--smoke", "--bin"]).arg(folder).output() {
        Ok(output) => output,
        Err(why) => return pass_over("the bench of the load engine", &format!("python3 does not start: {why}")),
    };
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("scenarios are valid"), "{}", said(&output));
    // The server that it drives is an example, which is built only where all targets are.
    if let Some(line) = text.lines().find(|line| line.starts_with("passed over")) {
        pass_over("the bench's own server", line);
    }
}
