//! Does everything that was started end again, whatever happens to us, and do proxies forward?
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use assay::launch::{CpuPlan, Deployment, LaunchError, LaunchOptions, Launcher, LogFile, ProfileStart, Start};
use assay::scenario::Topology;
use serde_json::{Value, json};

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// The end of the scripts below: a server of Python's standard library on the port that is its first argument.
const SERVE: &str = "import http.server, sys\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')\n";

fn launcher(dir: &Path) -> Launcher {
    Launcher::new(LaunchOptions { logs: dir.join("logs"), assay: PathBuf::from(ASSAY), cpus: None })
}

fn chain(links: Value) -> Topology {
    serde_json::from_value(links).expect("a chain")
}

/// A server of Python's standard library: serves the folder of the run.
fn python() -> Value {
    let command = ["python3", "-m", "http.server", "${port}", "--bind", "127.0.0.1", "--directory", "${run_dir}"];
    json!({"process": {"command": command}})
}

/// A server that runs a script first.
fn script(text: &str) -> Value {
    json!({"process": {"command": ["python3", "-c", format!("{text}{SERVE}"), "${port}", "${run_dir}"]}})
}

fn up(dir: &Path, links: Value) -> Result<Deployment, LaunchError> {
    launcher(dir).up("test", &chain(links), &Start::plain(dir))
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().expect("a port").parse().expect("a number")
}

fn get(url: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port(url))).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: token.test\r\nConnection: close\r\n\r\n").expect("sends");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("reads");
    reply
}

/// Waits for something that must happen soon.
#[track_caller]
fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(15), "{what} did not happen within 15 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Every process whose command line names this folder.
fn processes_naming(dir: &Path) -> Vec<i32> {
    let name = dir.to_string_lossy().into_owned();
    let named = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name))
    };
    std::fs::read_dir("/proc")
        .expect("procfs")
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| runs(*pid) && named(pid))
        .collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_process_starts_answers_restarts_and_ends() {
    let dir = folder();
    let mut deployment = up(dir.path(), json!([python()])).expect("up");
    let first = deployment.url().to_owned();
    std::fs::write(deployment.run_dir().join("hello.txt"), "hello").expect("writes");
    assert!(get(&first, "/hello.txt").ends_with("hello"));
    let record = deployment.record();
    assert_eq!(record.chain, ["process"]);
    assert_eq!(record.processes[0].log.as_deref(), Some("logs/test/process.log"));
    assert!(!record.stand_in && record.processes[0].samples[0].rss_bytes > 1 << 20);

    deployment.restart().expect("restarts");
    assert_eq!(deployment.url(), first, "the port was free again");
    assert!(get(deployment.url(), "/hello.txt").ends_with("hello"));
    assert!(deployment.died().is_none());
    let url = deployment.url().to_owned();
    deployment.down();
    assert!(TcpStream::connect(("127.0.0.1", port(&url))).is_err());
    assert_eq!(processes_naming(dir.path()), Vec::<i32>::new());
}

#[test]
fn the_proxies_of_a_chain_stand_once_more_in_front_of_something_else() {
    let dir = folder();
    let deployment = up(dir.path(), json!([python(), "embedded-proxy", "embedded-proxy"])).expect("up");
    assert!(deployment.has_own_proxies());
    std::fs::write(deployment.run_dir().join("index.html"), "first").expect("writes");
    let other = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = other.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecond");
        }
    });
    let twin = deployment.twin(address, &AtomicBool::new(false)).expect("once more");
    assert!(get(twin.url(), "/").ends_with("second"));
    assert!(get(deployment.url(), "/").ends_with("first"));
    let url = twin.url().to_owned();
    drop(twin);
    assert!(TcpStream::connect(("127.0.0.1", port(&url))).is_err());
    assert!(get(deployment.url(), "/").ends_with("first"));
    assert!(!up(dir.path(), json!([python()])).expect("up").has_own_proxies());
}

#[test]
fn a_death_is_noticed_where_nobody_asked_for_it() {
    let dir = folder();
    let mut deployment = up(dir.path(), json!([python()])).expect("up");
    deployment.kill_link(0, true);
    assert!(TcpStream::connect(("127.0.0.1", port(deployment.url()))).is_err());
    assert!(deployment.died().is_none(), "we asked");
    deployment.restart_server(true).expect("restarts");
    for pid in processes_naming(dir.path()) {
        if std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("python")) {
            assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill").success());
        }
    }
    soon("the server's death", || deployment.died().is_some_and(|e| e.to_string().contains("signal 9")));
}

/// Not a test of its own: the process that the next test kills. Without the variable it has nothing to do.
#[test]
fn driver_for_the_kill_test() {
    let Some(dir) = std::env::var_os("ASSAY_TEST_DRIVER") else { return };
    let daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\nos.wait()\n";
    let _held = up(&PathBuf::from(dir), json!([script(daemon)])).expect("up");
    println!("up");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn kill_minus_nine_of_ours_leaves_neither_children_nor_daemons() {
    let dir = folder();
    let mut driver = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "driver_for_the_kill_test", "--nocapture"])
        .env("ASSAY_TEST_DRIVER", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the driver starts");
    let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("up")), "the driver came up");
    // The guard, the server and its daemon; the driver names the folder in its environment only.
    soon("the start of three processes", || processes_naming(dir.path()).len() == 3);
    driver.kill().expect("SIGKILL");
    driver.wait().expect("reaped");
    soon("the end of all", || processes_naming(dir.path()).is_empty());
}

#[test]
fn a_guard_ends_a_daemon_that_left_its_group_and_ignores_sigterm() {
    let dir = folder();
    let pid_file = dir.path().join("pid");
    let script =
        format!("setsid sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1; done' & exit 0", pid_file.display());
    let mut guard = Command::new(ASSAY)
        .args(["guard", "--grace-ms", "100", "--", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a guard");
    let mut pid = 0;
    soon("the daemon's start", || {
        pid = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        pid != 0
    });
    assert!(guard.try_wait().expect("a status").is_none(), "the guard stays as long as the daemon does");
    drop(guard.stdin.take());
    soon("the guard's end", || guard.try_wait().expect("a status").is_some());
    assert!(!runs(pid));
}

#[test]
fn a_guard_tells_the_exit_code_of_its_command() {
    let code = |script: &str| {
        let mut guard = Command::new(ASSAY);
        let mut guard = guard.args(["guard", "--", "sh", "-c", script]).stdin(Stdio::piped()).spawn().expect("a guard");
        // The pipe stays open: only the command decides.
        let pipe = guard.stdin.take();
        let code = guard.wait().expect("ends").code();
        drop(pipe);
        code
    };
    assert_eq!(code("exit 0"), Some(0));
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -9 $$"), Some(137));
    assert_eq!(code("sleep 600 & exit 3"), Some(3), "a failed leader takes its children along");
}

#[test]
fn servers_run_on_the_processors_of_the_plan() {
    let plan = CpuPlan::of_this_process();
    let dir = folder();
    let options =
        LaunchOptions { logs: dir.path().join("logs"), assay: PathBuf::from(ASSAY), cpus: Some(plan.clone()) };
    let print = "import os\nprint('cpus', sorted(os.sched_getaffinity(0)), flush=True)\n";
    let topology = chain(json!([script(print)]));
    let deployment = Launcher::new(options).up("pinned", &topology, &Start::plain(dir.path())).expect("up");
    let log = std::fs::read_to_string(&deployment.logs()[0].path).expect("a log");
    let cpus = format!("cpus {:?}", plan.servers);
    assert!(log.contains(&cpus), "expected `{cpus}` in {log}");
    assert_eq!(deployment.record().processes[0].cpus, plan.servers);
}

#[test]
fn a_missing_program_is_told_apart_and_hints_at_its_installation() {
    let dir = folder();
    let refused = up(dir.path(), json!([{"process": {"command": ["no-such-server-of-tokens"]}}])).expect_err("missing");
    assert!(refused.is_not_installed(), "{refused}");
    assert!(refused.to_string().contains("`no-such-server-of-tokens` is not installed; hint: "), "{refused}");
}

#[test]
fn a_child_that_dies_at_its_start_shows_its_last_lines() {
    let dir = folder();
    let command = ["sh", "-c", "echo reading configuration; echo no such key >&2; exit 3"];
    let refused = up(dir.path(), json!([{"process": {"command": command}}])).expect_err("dies").to_string();
    assert!(refused.contains("`process` ended with exit code 3 before it was ready"), "{refused}");
    assert!(refused.contains("no such key"), "{refused}");
}

#[test]
fn a_child_that_never_listens_is_given_up_and_ended() {
    let dir = folder();
    let links = json!([{"process": {"command": ["tail", "-f", "/dev/null", "${run_dir}"], "ready-within": "300ms"}}]);
    let refused = up(dir.path(), links).expect_err("never ready").to_string();
    assert!(refused.contains("`process` was not ready within 300ms"), "{refused}");
    assert_eq!(processes_naming(dir.path()), Vec::<i32>::new());
}

#[test]
fn a_chatty_child_does_not_block() {
    let dir = folder();
    let deployment = up(dir.path(), json!([script("for i in range(200000): print('chatter ' * 4)\n")])).expect("up");
    assert!(std::fs::metadata(&deployment.logs()[0].path).expect("a log").len() > 6_000_000);
}

#[test]
fn a_port_in_use_is_tried_again_on_another() {
    let dir = folder();
    // Fails as a server whose port was taken does, the first two times.
    let taken_twice = "import os, sys\ncount = os.path.join(sys.argv[2], 'count')\nn = len(open(count).read()) if os.path.exists(count) else 0\nopen(count, 'a').write('x')\nif n < 2: sys.exit('OSError: [Errno 98] Address already in use')\n";
    let deployment = up(dir.path(), json!([script(taken_twice)])).expect("up at the third port");
    assert_eq!(std::fs::read_to_string(deployment.run_dir().join("count")).expect("a count"), "xxx");
    let command = ["sh", "-c", "echo address already in use; exit 1"];
    let refused = up(dir.path(), json!([{"process": {"command": command}}])).expect_err("always taken").to_string();
    assert!(refused.contains("found its port in use 5 times"), "{refused}");
}

#[test]
fn chains_that_make_no_sense_are_refused_with_a_hint() {
    let dir = folder();
    let check = |links: Value, expected: &str| {
        let refused = up(dir.path(), links).expect_err("refused");
        assert!(refused.is_usage() && refused.to_string().contains(expected), "{refused}");
    };
    check(json!(["embedded-proxy"]), "stands in front of nothing");
    check(json!([python(), "reference-server"]), "cannot stand in front of another");
    check(json!([python(), "ngnix"]), "did you mean `nginx`?");
    check(json!([python(), {"embedded-proxy": {"delya": "1ms"}}]), "did you mean `delay`?");
    check(json!([]), "expected 1 to 8 links, saw 0");
}

#[test]
fn what_already_runs_is_taken_as_it_is() {
    let dir = folder();
    let topology: Topology = serde_json::from_value(json!({"url": "http://127.0.0.1:9/"})).expect("running");
    let mut deployment = launcher(dir.path()).up("there", &topology, &Start::plain(dir.path())).expect("up");
    assert_eq!((deployment.url(), deployment.inner_url()), ("http://127.0.0.1:9", "http://127.0.0.1:9"));
    assert!(deployment.restart().is_ok() && deployment.record().processes.is_empty());
}

#[test]
fn the_profiles_starts_have_names_versions_and_preparations() {
    let dir = folder();
    let start = serde_json::from_value(json!({
        "command": ["python3", "-m", "http.server", "${port}", "--bind", "127.0.0.1"],
        "version": ["python3", "--version"],
        "prepare": {"commands": [["sh", "-c", "echo prepared > \"$0/prepared\"", "${run_dir}"]]}
    }))
    .expect("a start");
    let mut context = Start::plain(dir.path());
    context.processes = BTreeMap::from([("runserver".to_owned(), ProfileStart { start, dir: dir.path().to_owned() })]);
    let deployment = launcher(dir.path()).up("named", &chain(json!(["runserver"])), &context).expect("up");
    let version = deployment.record().processes[0].version.clone();
    assert!(version.starts_with("3."), "{version}");
    assert!(deployment.run_dir().join("prepared").exists());
}

#[test]
fn a_failing_preparation_is_shown() {
    let dir = folder();
    let mut link = python();
    link["process"]["prepare"] = json!({"commands": [["sh", "-c", "echo no such table; exit 1"]]});
    let refused = up(dir.path(), json!([link])).expect_err("refused").to_string();
    assert!(refused.contains("preparing `process`") && refused.contains("no such table"), "{refused}");
}

#[test]
fn the_reference_server_tells_its_addresses() {
    let dir = folder();
    let mut deployment =
        up(dir.path(), json!([{"reference-server": {"hash": "none", "rotate": false, "access-lifetime": "5s"}}]))
            .expect("up");
    assert!(get(deployment.url(), "/healthz").starts_with("HTTP/1.1 200"));
    assert!(deployment.admin_url().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    let url = deployment.url().to_owned();
    deployment.restart_server(true).expect("restarts");
    assert_eq!(deployment.url(), url);
    assert!(get(deployment.url(), "/healthz").starts_with("HTTP/1.1 200"));
    let refused = up(dir.path(), json!([{"reference-server": {"alg": "HS255"}}])).expect_err("refused").to_string();
    assert!(refused.contains("HS255") && refused.contains("exit code 2"), "{refused}");
}

/// A proxy that is not installed here is left out, as a run leaves it out.
fn through(name: &str) {
    let dir = folder();
    let mut deployment = match up(dir.path(), json!([python(), name])) {
        Ok(deployment) => deployment,
        Err(e) if e.is_not_installed() => return println!("left out: {e}"),
        Err(e) => panic!("{e}"),
    };
    std::fs::write(deployment.run_dir().join("hello.txt"), "hello").expect("writes");
    let own = LogFile { path: deployment.run_dir().join("application.log"), proxys: false };
    std::fs::write(&own.path, "a line").expect("writes");
    assert!(deployment.logs().contains(&own), "what an application writes into its folder is a log of the server");
    assert_ne!(deployment.url(), deployment.inner_url());
    let reply = get(deployment.url(), "/hello.txt");
    assert!(reply.starts_with("HTTP/1.") && reply.contains(" 200 OK") && reply.ends_with("hello"), "{reply}");
    deployment.restart().expect("restarts");
    assert!(get(deployment.url(), "/hello.txt").ends_with("hello"));
    let record = deployment.record();
    assert_eq!(record.chain, ["process", name]);
    assert!(record.processes[1].version.starts_with(|c: char| c.is_ascii_digit()), "{:?}", record.processes[1].version);
    soon("the access log", || {
        let read = |log: &LogFile| std::fs::read_to_string(&log.path).unwrap_or_default();
        deployment.logs().iter().filter(|log| log.proxys).map(read).any(|log| log.contains("/hello.txt"))
    });
    let url = deployment.url().to_owned();
    drop(deployment);
    assert!(TcpStream::connect(("127.0.0.1", port(&url))).is_err());
    soon("the end of all", || processes_naming(dir.path()).is_empty());
}

#[test]
fn nginx_forwards_restarts_and_ends() {
    through("nginx");
}

#[test]
fn the_embedded_proxy_forwards_restarts_and_ends() {
    through("embedded-proxy");
}

#[test]
fn a_stand_in_is_recorded_as_one() {
    let dir = folder();
    let links =
        json!(["reference-server", {"embedded-proxy": {"flaw": ["rewrite-401"], "delay": "1ms", "keepalive": false}}]);
    let deployment = up(dir.path(), links).expect("up");
    assert!(deployment.record().stand_in);
    assert!(get(deployment.inner_url(), "/hello/").starts_with("HTTP/1.1 401"));
    let reply = get(deployment.url(), "/hello/");
    assert!(reply.starts_with("HTTP/1.1 403") && reply.contains("x-assay-flaws: rewrite-401"), "{reply}");
    let refused = up(dir.path(), json!(["reference-server", {"embedded-proxy": {"flaw": "rewrite-404"}}]));
    assert!(refused.expect_err("unknown").to_string().contains("did you mean `rewrite-401`?"));
}

#[test]
fn haproxy_forwards_restarts_and_ends() {
    through("haproxy");
}

#[test]
fn caddy_forwards_restarts_and_ends() {
    through("caddy");
}

#[test]
fn nginx_serves_static_files_itself_and_its_refusal_of_a_configuration_is_shown() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("files")).expect("a folder");
    std::fs::write(dir.path().join("files/hello.css"), "from nginx").expect("writes");
    match up(dir.path(), json!([python(), {"nginx": {"static": "files", "static-path": "/"}}])) {
        Ok(_) => panic!("two locations `/` cannot both be"),
        Err(e) if e.is_not_installed() => return println!("left out: {e}"),
        Err(e) => assert!(e.to_string().contains("`nginx` refuses the configuration"), "{e}"),
    }
    let deployment = up(dir.path(), json!([python(), {"nginx": {"static": "files", "keepalive": 0}}])).expect("up");
    let reply = get(deployment.url(), "/static/hello.css");
    assert!(reply.contains("Content-Type: text/css") && reply.ends_with("from nginx"), "{reply}");
}
