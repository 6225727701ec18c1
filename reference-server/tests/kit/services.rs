//! PostgreSQL and Redis of this machine for tests: each on a free port of 127.0.0.1 in a folder of its own, ended and removed with the test,
//! however that ends.
#![allow(dead_code, reason = "every test takes the part that it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Ends the server and removes its folder when its own input ends, which the end of the test does too. `keep` leaves the folder.
const GUARD: &str = r#"
"$@" </dev/null >>"$FOLDER/log" 2>&1 &
pid=$!
echo $pid
word=
read word
[ "$word" = keep ] || SIGNAL=$AT_ONCE
kill -$SIGNAL $pid 2>/dev/null
wait $pid
[ "$word" = keep ] || rm -rf "$FOLDER"
"#;

/// Says that a test could not look.
pub fn pass_over(what: &str, why: &str) {
    #[allow(clippy::print_stderr, reason = "a test that looks at nothing has to say so")]
    {
        eprintln!("PASSED OVER: {what}: {}", why.lines().next().unwrap_or_default());
    }
}

/// A program that serves, its folder, and how it is told to end.
struct Server {
    folder: PathBuf,
    program: Vec<String>,
    /// Orderly, and at once.
    signals: [&'static str; 2],
    port: u16,
    guard: Option<(Child, u32)>,
}

impl Server {
    fn start(&mut self, is_ready: impl Fn(u16, &Path) -> bool) -> Result<(), String> {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args(&self.program)
            .env("FOLDER", &self.folder)
            .env("SIGNAL", self.signals[0])
            .env("AT_ONCE", self.signals[1])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Whoever ends the tests by their group must not end what cleans up after them.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let mut line = String::new();
        let _ = BufReader::new(guard.stdout.take().expect("piped")).read_line(&mut line);
        let pid = line.trim().parse().map_err(|_| "the guard says nothing".to_owned())?;
        self.guard = Some((guard, pid));
        let end = Instant::now() + Duration::from_secs(30);
        while !is_ready(self.port, &self.folder) {
            if Instant::now() > end || !Path::new(&format!("/proc/{pid}/exe")).exists() {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("{} does not start: {log}", self.program[0]));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn signal(&self, name: &str) {
        let Some((_, pid)) = &self.guard else { return };
        let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Ends it, in order or at once; its folder stays.
    fn end(&mut self, at_once: bool) {
        if at_once {
            self.signal(self.signals[1]);
        }
        let Some((mut guard, _)) = self.guard.take() else { return };
        let mut input = guard.stdin.take().expect("piped");
        let _ = input.write_all(b"keep\n");
        drop(input);
        let _ = guard.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut guard, _)) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("assay-store-").tempdir().expect("a folder").keep()
}

fn number_of(program: &str, arguments: &[&str]) -> Option<u32> {
    let output = Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A PostgreSQL cluster.
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    databases: AtomicUsize,
}

const PASSWORD: &str = "p@ss/w?rd";
const ESCAPED: &str = "p%40ss%2Fw%3Frd";

impl Postgres {
    /// A new cluster, or why there can be none.
    pub fn start() -> Result<Self, String> {
        let programs = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin"))
            .find(|bin| bin.join("initdb").exists())
            .ok_or("PostgreSQL is not installed (scripts/install-test-tools)")?;
        let folder = folder();
        // It refuses to run as root.
        let mut as_user: Vec<String> = Vec::new();
        if number_of("id", &["-u"]) == Some(0) {
            let user = number_of("id", &["-u", "postgres"]).ok_or("there is no user `postgres`")?;
            std::os::unix::fs::chown(&folder, Some(user), None).map_err(|error| error.to_string())?;
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned).into();
        }
        let run = |program: &str, arguments: &[&str]| -> Vec<String> {
            let program = programs.join(program).display().to_string();
            as_user.iter().cloned().chain([program]).chain(arguments.iter().map(|&text| text.to_owned())).collect()
        };
        let (data, password) = (folder.join("data").display().to_string(), folder.join("password"));
        std::fs::write(&password, PASSWORD).map_err(|error| error.to_string())?;
        let password = format!("--pwfile={}", password.display());
        let init = run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "scram-sha-256", &password, "--no-sync", "--no-instructions"],
        );
        let output = Command::new(&init[0])
            .args(&init[1..])
            .current_dir(&folder)
            .output()
            .map_err(|error| format!("{}: {error}", init[0]))?;
        if !output.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let port = free_port();
        let sockets = folder.display();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={sockets}"),
            "max_connections=300".to_owned(),
            "shared_buffers=64MB".to_owned(),
        ];
        let mut arguments = vec!["-D", &data];
        arguments.extend(settings.iter().flat_map(|setting| ["-c", setting]));
        let program = run("postgres", &arguments);
        let mut server = Server { folder, program, signals: ["INT", "QUIT"], port, guard: None };
        server.start(Self::is_ready)?;
        Ok(Self { server, programs, databases: AtomicUsize::new(0) })
    }

    fn is_ready(port: u16, folder: &Path) -> bool {
        // The file tells the state in its last line; it is there before the port is, and stays after a crash.
        let told = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        told.lines().last().is_some_and(|state| state.trim() == "ready")
            && TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("tokens{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let output = Command::new(self.programs.join("createdb"))
            .args(["-h", "127.0.0.1", "-p", &self.server.port.to_string(), "-U", "postgres", &name])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("createdb");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        format!("postgres://postgres:{ESCAPED}@127.0.0.1:{}/{name}", self.server.port)
    }

    /// How large the database of this URL is, in bytes.
    pub fn size(&self, url: &str) -> f64 {
        let output = Command::new(self.programs.join("psql"))
            .args([url, "-Atc", "select pg_database_size(current_database())"])
            .output()
            .expect("psql");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    }

    /// Ends it as a crash does: nothing is written any more.
    pub fn crash(&mut self) {
        self.server.end(true);
    }

    /// Starts it again on what is on the disk.
    pub fn again(&mut self) {
        self.server.start(Self::is_ready).expect("it starts again");
    }
}

/// A Redis server.
pub struct Redis {
    server: Server,
    databases: AtomicUsize,
}

/// What the store asks for.
pub const DURABLE: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--no-appendfsync-on-rewrite",
    "no",
    "--maxmemory-policy",
    "noeviction",
];

impl Redis {
    /// A new server with these settings, or why there can be none.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("redis-server"))
            .find(|program| program.exists())
            .ok_or("Redis is not installed (scripts/install-test-tools)")?;
        let (folder, port) = (folder(), free_port());
        let mut program: Vec<String> = [
            found.display().to_string().as_str(),
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--dir",
            &folder.display().to_string(),
            "--save",
            "",
            "--databases",
            "1000",
            "--requirepass",
            PASSWORD,
        ]
        .map(str::to_owned)
        .into();
        program.extend(settings.iter().map(|&text| text.to_owned()));
        let mut server = Server { folder, program, signals: ["TERM", "KILL"], port, guard: None };
        server.start(Self::is_ready)?;
        Ok(Self { server, databases: AtomicUsize::new(0) })
    }

    fn is_ready(port: u16, _: &Path) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut answer = [0; 5];
        // While it reads its file it says LOADING.
        let asked = write!(stream, "AUTH {PASSWORD}\r\nPING\r\n").and_then(|()| stream.read_exact(&mut answer));
        let mut rest = [0; 5];
        asked.is_ok() && stream.read_exact(&mut rest).is_ok() && &rest == b"+PONG"
    }

    /// The URL of an empty database.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        format!("redis://:{ESCAPED}@127.0.0.1:{}/{number}", self.server.port)
    }

    /// How much memory it uses, in bytes.
    pub fn memory(&self) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port)).expect("Redis");
        write!(stream, "AUTH {PASSWORD}\r\nINFO memory\r\n").expect("sending");
        let lines = BufReader::new(stream).lines();
        let used = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("used_memory:").map(str::to_owned));
        used.and_then(|text| text.trim().parse().ok()).expect("a number")
    }

    /// One command as it is typed; gives the first line of the answer.
    pub fn say(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port)).expect("Redis");
        write!(stream, "AUTH {PASSWORD}\r\n{command}\r\n").expect("sending");
        BufReader::new(stream).lines().nth(1).expect("an answer").expect("an answer")
    }

    /// SIGKILL.
    pub fn crash(&mut self) {
        self.server.end(true);
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.server.end(false);
    }

    /// Starts it again on what is on the disk.
    pub fn again(&mut self) {
        self.server.start(Self::is_ready).expect("it starts again");
    }

    /// Leaves connections open and answers nothing, until `thaw`.
    pub fn freeze(&self) {
        self.server.signal("STOP");
    }

    /// Answers again.
    pub fn thaw(&self) {
        self.server.signal("CONT");
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        &self.server.folder
    }
}

/// One PostgreSQL for all tests of this process.
pub fn postgres() -> Result<&'static Postgres, &'static String> {
    static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
    SHARED.get_or_init(Postgres::start).as_ref()
}

/// One durable Redis for all tests of this process.
pub fn redis() -> Result<&'static Redis, &'static String> {
    static SHARED: OnceLock<Result<Redis, String>> = OnceLock::new();
    SHARED.get_or_init(|| Redis::start(&DURABLE)).as_ref()
}
