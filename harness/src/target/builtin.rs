//! Which profiles come with Assay? One table row each; the files are in `scenarios/targets/`.

/// A profile that comes with Assay.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What `--profile` and `target:` call it.
    pub name: &'static str,
    /// Its YAML.
    pub yaml: &'static str,
}

const BUILTINS: &[Builtin] = &[
    Builtin { name: "reference", yaml: include_str!("../../../scenarios/targets/reference.yaml") },
    Builtin { name: "reference-oauth", yaml: include_str!("../../../scenarios/targets/reference-oauth.yaml") },
    Builtin { name: "simplejwt", yaml: include_str!("../../../scenarios/targets/simplejwt.yaml") },
    Builtin { name: "oauth2", yaml: include_str!("../../../scenarios/targets/oauth2.yaml") },
    Builtin { name: "oidc", yaml: include_str!("../../../scenarios/targets/oidc.yaml") },
    Builtin {
        name: "django-oauth-toolkit",
        yaml: include_str!("../../../scenarios/targets/django-oauth-toolkit.yaml"),
    },
    Builtin { name: "fastapi", yaml: include_str!("../../../scenarios/targets/fastapi.yaml") },
];

/// All of them.
pub fn builtins() -> &'static [Builtin] {
    BUILTINS
}

/// The YAML of one, by name.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTINS.iter().find(|b| b.name == name).map(|b| b.yaml)
}

/// A development key of the reference server, for `file: builtin:NAME` in its profile.
pub(super) fn key(name: &str) -> Option<&'static [u8]> {
    KEYS.iter().find(|(found, _)| *found == name).map(|(_, bytes)| *bytes)
}

macro_rules! key {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../reference-server/keys/", $name)))
    };
}

/// Published on purpose: they protect nothing.
const KEYS: &[(&str, &[u8])] = &[
    key!("hs256-development-only.secret"),
    key!("hs384-development-only.secret"),
    key!("hs512-development-only.secret"),
    key!("rs256-development-only.pem"),
    key!("rs256-development-only.pub.pem"),
    key!("rs384-development-only.pem"),
    key!("rs384-development-only.pub.pem"),
    key!("rs512-development-only.pem"),
    key!("rs512-development-only.pub.pem"),
    key!("ps256-development-only.pem"),
    key!("ps256-development-only.pub.pem"),
    key!("ps384-development-only.pem"),
    key!("ps384-development-only.pub.pem"),
    key!("ps512-development-only.pem"),
    key!("ps512-development-only.pub.pem"),
    key!("es256-development-only.pem"),
    key!("es256-development-only.pub.pem"),
    key!("es384-development-only.pem"),
    key!("es384-development-only.pub.pem"),
    key!("es512-development-only.pem"),
    key!("es512-development-only.pub.pem"),
    key!("eddsa-development-only.pem"),
    key!("eddsa-development-only.pub.pem"),
    key!("ecdh-es-development-only.pem"),
    key!("rsa-oaep-256-development-only.pem"),
    key!("dir-development-only.secret"),
];
