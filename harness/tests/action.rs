//! Do the steps of the GitHub action do what action.yml says? They are a script, which is run here as it is there.

#[path = "kit/examples.rs"]
mod examples;
#[path = "kit/servers.rs"]
mod servers;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use examples::root;
use servers::{ASSAY, Serve, said};

const REPORTS: [&str; 5] = ["run.json", "junit.xml", "report.html", "report.sarif", "report.md"];

/// A step of the script in a folder that stands for the workspace.
fn step(name: &str, workspace: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new("bash")
        .arg(root().join("scripts/action"))
        .arg(name)
        .current_dir(workspace)
        .env_remove("ASSAY_PASSWORD")
        .env("GITHUB_OUTPUT", workspace.join("output"))
        .env("GITHUB_STEP_SUMMARY", workspace.join("summary"))
        .env("ASSAY", ASSAY)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("bash starts")
}

/// The step that runs Assay: its exit code, and what was said.
fn run(workspace: &Path, command: &str, scenario: &str, arguments: &str) -> (i32, String) {
    let output = step(
        "run",
        workspace,
        &[
            ("ASSAY_COMMAND", command),
            ("ASSAY_SCENARIO", scenario),
            ("ASSAY_OUT", "assay-report"),
            ("ASSAY_ARGUMENTS", arguments),
        ],
    );
    (output.status.code().expect("it was not killed"), said(&output))
}

/// A file of the workspace; empty where there is none.
fn text(workspace: &Path, name: &str) -> String {
    std::fs::read_to_string(workspace.join(name)).unwrap_or_default()
}

/// A workspace with a scenario for a server that runs.
fn workspace(server: &Serve) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = format!(
        "name: tokens\ntarget: reference\ntopologies: {{mine: {{url: \"{}\"}}}}\nconformance: {{only: [sig-alg-none], budget: ci}}\nreports: [json]\n",
        server.url
    );
    std::fs::write(folder.path().join("tokens.yaml"), scenario).expect("written");
    folder
}

fn leaves_every_report(workspace: &Path, command: &str) {
    let out = workspace.join("assay-report");
    for file in REPORTS {
        // `run` keeps the record in a folder of its own.
        assert!((command == "run" && file == "run.json") || out.join(file).is_file(), "{command}: no {file}");
    }
    assert!(text(workspace, "summary").contains("tokens"), "{command}: no summary: {}", text(workspace, "summary"));
    assert!(text(workspace, "output").contains("report=assay-report\n"), "{}", text(workspace, "output"));
}

#[test]
fn the_exit_code_is_assays_and_every_report_is_there() {
    for (arguments, expected) in [(&["--hash", "none"][..], 0), (&["--hash", "none", "--flaw", "allow-none"][..], 1)] {
        let server = Serve::start(arguments);
        for command in ["check", "run"] {
            let folder = workspace(&server);
            let (code, said) = run(folder.path(), command, "tokens.yaml", "");
            assert_eq!(code, expected, "{command}: {said}");
            leaves_every_report(folder.path(), command);
            let output = text(folder.path(), "output");
            assert!(output.contains(&format!("exit-code={expected}\n")), "{command}: {output}");
        }
    }
}

#[test]
fn a_scenario_that_is_not_there_ends_with_2_and_shows_nothing_of_an_earlier_step() {
    let server = Serve::start(&["--hash", "none"]);
    let folder = workspace(&server);
    let (code, said) = run(folder.path(), "check", "absent.yaml", "");
    assert_eq!(code, 2, "{said}");
    assert!(!folder.path().join("assay-report").exists(), "a folder was made for nothing: {said}");
    assert_eq!(run(folder.path(), "check", "tokens.yaml", "").0, 0);
    let shown = text(folder.path(), "summary");
    assert_eq!(run(folder.path(), "check", "absent.yaml", "").0, 2);
    for file in REPORTS {
        assert!(!folder.path().join("assay-report").join(file).exists(), "{file} of the step before is still there");
    }
    assert_eq!(text(folder.path(), "summary"), shown, "a summary of nothing");
    let output = text(folder.path(), "output");
    assert!(output.ends_with("report=assay-report\nexit-code=2\n"), "{output}");
}

#[test]
fn arguments_are_words_and_never_names_of_files() {
    let server = Serve::start(&["--hash", "none"]);
    let folder = workspace(&server);
    // Were `sig-alg-*` a pattern for files, it would be this one, and no check is called so.
    std::fs::write(folder.path().join("sig-alg-file"), "").expect("written");
    let (code, said) =
        run(folder.path(), "check", "tokens.yaml", "--only sig-alg-*  --fail-on should --require signing-key");
    assert_eq!(code, 0, "{said}");
    // `run` takes from the scenario what `check` takes by argument.
    let (code, said) = run(folder.path(), "run", "tokens.yaml", "--fail-on should");
    assert_eq!(code, 2, "{said}");
    let (code, said) = run(folder.path(), "run", "tokens.yaml", "--topology mine --seed 7");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_report_that_cannot_be_written_changes_no_exit_code() {
    let server = Serve::start(&["--hash", "none", "--flaw", "allow-none"]);
    let folder = workspace(&server);
    std::fs::create_dir_all(folder.path().join("assay-report/report.md/in-the-way")).expect("made");
    let (code, said) = run(folder.path(), "check", "tokens.yaml", "");
    assert_eq!(code, 1, "{said}");
}

#[test]
fn the_key_of_the_cache_follows_everything_that_is_compiled_in() {
    let action = tempfile::tempdir().expect("a folder");
    let files = [
        "Cargo.lock",
        "action.yml",
        "scripts/action",
        "harness/src/main.rs",
        "harness/src/target/mod.rs",
        "harness/Cargo.toml",
        "reference-server/src/lib.rs",
        "reference-server/keys/hs256.secret",
        "scenarios/targets/reference.yaml",
        "README.md",
    ];
    let write = |file: &str, text: &str| {
        let path = action.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    for file in files {
        write(file, "before");
    }
    write("Cargo.toml", "[workspace.package]\nrust-version = \"1.0\"\n");
    let key = || {
        let workspace = tempfile::tempdir().expect("a folder");
        let path = action.path().to_str().expect("a path of letters").to_owned() + "/./";
        let output = step("key", workspace.path(), &[("GITHUB_ACTION_PATH", &path)]);
        assert!(output.status.success(), "{}", said(&output));
        let output = text(workspace.path(), "output");
        let key = output.lines().find_map(|line| line.strip_prefix("key=")).expect("a key").to_owned();
        assert_eq!(key.len(), 64, "{key}");
        key
    };
    let mut seen = BTreeSet::from([key()]);
    assert!(!seen.insert(key()), "the same files have two keys");
    for file in files {
        write(file, "after");
        assert_eq!(seen.insert(key()), file != "README.md", "{file}");
    }
}

#[test]
fn the_action_hands_over_what_the_script_reads() {
    let action = std::fs::read_to_string(root().join("action.yml")).expect("the action");
    let script = std::fs::read_to_string(root().join("scripts/action")).expect("the script");
    for variable in ["ASSAY_COMMAND", "ASSAY_SCENARIO", "ASSAY_OUT", "ASSAY_ARGUMENTS"] {
        let input = variable.trim_start_matches("ASSAY_").to_lowercase();
        assert!(action.contains(&format!("{variable}: ${{{{ inputs.{input} }}}}")), "{variable}");
        assert!(script.contains(&format!("${variable}")), "{variable}");
    }
    for output in [
        "steps.source.outputs.key",
        "steps.source.outputs.toolchain",
        "steps.assay.outputs.report",
        "steps.assay.outputs.exit-code",
    ] {
        assert!(action.contains(output), "{output}");
        let name = output.rsplit('.').next().expect("a name");
        assert!(script.contains(&format!("echo \"{name}=")), "{name}");
    }
}

#[test]
fn the_image_is_what_the_page_on_ci_says() {
    let image = std::fs::read_to_string(root().join("Containerfile")).expect("the Containerfile");
    let page = examples::page("ci.md");
    assert!(!image.lines().any(|line| line.starts_with("ENTRYPOINT")), "CI systems start a shell in the image");
    for (in_image, on_page) in [
        ("--uid 1000 assay", "--userns=keep-id:uid=1000,gid=1000"),
        ("ENV ASSAY_CACHE=/cache\n", "-v assay-cache:/cache assay assay check"),
        ("WORKDIR /work\n", "-v \"$PWD:/work"),
        ("--all-features", "all its\nstores"),
        ("nginx-light", "nginx"),
        ("haproxy", "HAProxy"),
        ("caddy", "Caddy"),
        ("python3-venv", "Python"),
    ] {
        assert!(image.contains(in_image), "Containerfile: no `{in_image}`");
        assert!(page.contains(on_page), "docs/ci.md: no `{on_page}`");
    }
}
