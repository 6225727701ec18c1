//! Do the commands of the documentation work? They are taken from the pages and run, the addresses put in.

#[path = "kit/examples.rs"]
mod examples;
#[path = "kit/servers.rs"]
mod servers;

use std::path::Path;
use std::process::{Command, Stdio};

use examples::{Example, page, root};
use servers::{ASSAY, Serve, pass_over, real};

/// The blocks of a page with this mark.
fn blocks(name: &str, mark: &str) -> Vec<Example> {
    let found: Vec<Example> = examples::examples(&page(name)).into_iter().filter(|e| e.mark == mark).collect();
    assert!(!found.is_empty(), "docs/{name} has no block `{mark}`");
    found
}

/// Runs every command of these blocks; each ends well or with findings, and leaves what it names with `--out`.
fn run(page: &str, mark: &str, folder: &Path, addresses: &[(&str, &str)]) {
    for block in blocks(page, mark) {
        let mut text = block.text.clone();
        for (written, real) in addresses {
            assert!(examples::page(page).contains(written), "docs/{page} does not mention {written}");
            text = text.replace(written, real);
        }
        let command = text.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let program = Path::new(ASSAY).parent().expect("a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-c", &command])
            .current_dir(folder)
            .env("PATH", path)
            .env_remove("ASSAY_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("bash starts");
        let code = output.status.code().expect("it was not killed");
        // A comparison may be void on a busy machine; it says so with 3 only where a threshold hangs on it.
        assert!(
            matches!(code, 0 | 1),
            "docs/{page}:{}: exit {code}\n{command}\n{}",
            block.line,
            servers::said(&output)
        );
        if let Some((_, rest)) = command.split_once("--out ") {
            let out = folder.join(rest.split_whitespace().next().expect("a folder"));
            let saved = out.join("run.json").is_file()
                || std::fs::read_dir(&out).is_ok_and(|all| all.flatten().any(|e| e.path().join("run.json").is_file()));
            assert!(saved, "docs/{page}:{}: nothing was saved in {}", block.line, out.display());
        }
    }
}

#[test]
fn my_openid_connect_provider() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::start(&["--alg", "RS256", "--hash", "none"]);
    run("cookbook.md", "run:oidc", folder.path(), &[("http://127.0.0.1:9000", &server.url)]);
    let profile = std::fs::read_to_string(folder.path().join("my-provider.profile.yaml")).expect("written");
    assert!(profile.contains("dialect: oidc") && profile.contains("jwks"), "{profile}");
}

#[test]
fn behind_my_own_nginx() {
    let Some(nginx) =
        ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"].into_iter().find(|p| Path::new(p).is_file())
    else {
        return pass_over("behind my own nginx", "nginx is not installed");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::start(&["--hash", "none"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("127.0.0.1:{port}");
    let text = page("cookbook.md");
    let site = examples::examples(&text).into_iter().find(|e| e.language == "nginx").expect("a configuration");
    let site = site.text.replace("127.0.0.1:8081", &address).replace("http://127.0.0.1:8080", &server.url);
    let here = folder.path().display();
    let whole = format!(
        "daemon off; pid {here}/pid; error_log {here}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n{site}\n}}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, whole).expect("written");
    let mut child = Command::new(nginx)
        .args(["-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    let started = std::time::Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(child.try_wait().expect("its state").is_none(), "nginx ended");
        assert!(started.elapsed().as_secs() < 30, "nginx is not ready after 30 s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let addresses =
        [("http://127.0.0.1:8081", format!("http://{address}")), ("http://127.0.0.1:8080", server.url.clone())];
    let addresses: Vec<(&str, &str)> = addresses.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let outcome = std::panic::catch_unwind(|| run("cookbook.md", "run:nginx", folder.path(), &addresses));
    // SIGTERM to the master ends its workers as well.
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn my_django_app() {
    let folder = tempfile::tempdir().expect("a folder");
    match real("simplejwt", &folder.path().join("logs")) {
        Err(why) => pass_over("my Django app", &why),
        Ok(django) => run("cookbook.md", "run:django", folder.path(), &[("http://127.0.0.1:8000", django.url())]),
    }
}

#[test]
fn my_resource_server_that_only_verifies() {
    let folder = tempfile::tempdir().expect("a folder");
    let orders = match real("resource-server", &folder.path().join("logs")) {
        Err(why) => return pass_over("my resource server", &why),
        Ok(orders) => orders,
    };
    // All that the page does not do by a command of its own is to save its profile.
    let text = page("cookbook.md");
    let profile = examples::examples(&text).into_iter().find(|e| e.mark == "profile").expect("a profile");
    std::fs::write(folder.path().join("orders.yaml"), profile.text).expect("written");
    let here = root().to_str().expect("a path of letters");
    run("cookbook.md", "run:resource", folder.path(), &[("http://127.0.0.1:8001", orders.url()), ("ASSAY", here)]);
}

#[test]
fn the_pipeline_of_the_page_on_ci() {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root().join("scenarios"), folder.path().join("scenarios")).expect("linked");
    run("ci.md", "run", folder.path(), &[]);
    for file in ["run.json", "junit.xml", "report.html"] {
        assert!(folder.path().join("conformance").join(file).is_file(), "no {file}");
    }
    let shown = blocks("ci.md", "scenario").remove(0).text;
    let kept = std::fs::read_to_string(root().join("scenarios/ci-conformance.yaml")).expect("the scenario");
    assert!(kept.ends_with(&shown), "docs/ci.md shows another scenario than scenarios/ci-conformance.yaml:\n{kept}");
}
